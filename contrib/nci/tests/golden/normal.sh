# https://opus.nci.org.au/spaces/Help/pages/236880942/Job+Costs...
# Cluster(site='gadi', site_options={'storage': 'gdata/ab12+scratch/ab12'}, account='ab12', queue='normal', cores=8, memory='128GiB', walltime='5h')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q normal
#PBS -P ab12
#PBS -l walltime=05:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l storage=gdata/ab12+scratch/ab12
#PBS -l ncpus=8
#PBS -l mem=131072mb

dask worker
