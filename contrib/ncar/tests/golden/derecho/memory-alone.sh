# https://github.com/NCAR/HPC-Docs/blob/main/docs/pbs/charging.md
# Cluster(site='derecho', account='UXYZ0001', memory='100GB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q main
#PBS -A UXYZ0001
#PBS -l select=1:ncpus=128:mem=240640mb
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

dask worker
