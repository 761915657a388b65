# https://opus.nci.org.au/spaces/Help/pages/236880942/Job+Costs...
# Cluster(site='gadi', site_options={'storage': 'gdata/ab12+scratch/ab12'}, account='ab12', queue='normal', nodes=2, memory='16GiB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q normal
#PBS -P ab12
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l storage=gdata/ab12+scratch/ab12
#PBS -l ncpus=96
#PBS -l mem=389120mb

dask worker
