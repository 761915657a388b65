# https://opus.nci.org.au/spaces/Help/pages/236880942/Job+Costs...
# Cluster(site='gadi', site_options={'storage': 'gdata/ab12+scratch/ab12'}, account='ab12', gpus=1, cores=12, memory='90GiB', walltime='5h')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q gpuvolta
#PBS -P ab12
#PBS -l walltime=05:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l storage=gdata/ab12+scratch/ab12
#PBS -l ncpus=12
#PBS -l mem=92160mb
#PBS -l ngpus=1

dask worker
