# https://github.com/umr-lops/dask-hpcconfig/blob/main/dask_hpcconfig/clusters.yaml
# Cluster(site='datarmor', memory='100GB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q sequentiel
#PBS -l select=1:ncpus=1:mem=95368mb
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.95
export DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=0.99
dask worker
