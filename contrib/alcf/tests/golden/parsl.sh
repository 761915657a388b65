# https://github.com/Parsl/parsl/blob/master/parsl/configs/polaris.py
# Cluster(site='polaris', groups=['polaris.node'], account='Catalyst', nodes=128, walltime='24h')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q prod
#PBS -A Catalyst
#PBS -l select=128:ncpus=64:ngpus=4:system=polaris
#PBS -l place=scatter
#PBS -l walltime=24:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l filesystems=home:eagle

dask worker
