# https://github.com/umr-lops/dask-hpcconfig/blob/main/dask_hpcconfig/clusters.yaml
# Cluster(site='datarmor', groups=['datarmor.node'], walltime='12h')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q mpi_1
#PBS -l select=1:ncpus=28:mem=114441mb
#PBS -l walltime=12:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.95
export DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=0.99
dask worker
