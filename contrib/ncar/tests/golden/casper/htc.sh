# https://github.com/NCAR/HPC-Docs/blob/main/docs/pbs/job-scripts/casper-job-script-examples-content.md
# Cluster(site='casper', account='UXYZ0001', memory='10GiB', walltime='30min')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q casper
#PBS -A UXYZ0001
#PBS -l select=1:ncpus=1:mem=10240mb
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

dask worker
