# https://github.com/NCAR/HPC-Docs/blob/main/docs/compute-systems/casper/casper-node-types.md
# Cluster(site='casper', account='UXYZ0001', memory='1TiB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q casper
#PBS -A UXYZ0001
#PBS -l select=1:ncpus=1:mem=1048576mb
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

dask worker
