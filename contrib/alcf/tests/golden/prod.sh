# https://docs.alcf.anl.gov/running-jobs/
# Cluster(site='polaris', site_options={'filesystems': 'eagle:home'}, account='Catalyst', nodes=10, cores=64, memory='400GB', walltime='30min')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q prod
#PBS -A Catalyst
#PBS -l select=10:ncpus=64:ngpus=4:system=polaris
#PBS -l place=scatter
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l filesystems=eagle:home

dask worker
