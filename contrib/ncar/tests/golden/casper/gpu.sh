# https://github.com/NCAR/HPC-Docs/blob/main/docs/pbs/job-scripts/casper-job-script-examples-content.md
# Cluster(site='casper', groups=['casper.v100'], account='UXYZ0001', nodes=2, cores=4, gpus=4, memory='40GiB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q casper
#PBS -A UXYZ0001
#PBS -l select=2:ncpus=4:mem=40960mb:ngpus=4
#PBS -l place=scatter
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

dask worker
