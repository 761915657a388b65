# https://docs.alcf.anl.gov/running-jobs/example-job-scripts/
# Cluster(site='polaris', groups=['polaris.node'], account='Catalyst', queue='debug', nodes=2, walltime='30min')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q debug
#PBS -A Catalyst
#PBS -l select=2:ncpus=64:ngpus=4:system=polaris
#PBS -l place=scatter
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l filesystems=home:eagle

dask worker
