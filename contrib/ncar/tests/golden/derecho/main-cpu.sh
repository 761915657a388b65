# https://github.com/NCAR/HPC-Docs/blob/main/docs/pbs/job-scripts/derecho-job-script-examples-content.md
# Cluster(site='derecho', groups=['derecho.cpu'], account='UXYZ0001', nodes=2)
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q main
#PBS -A UXYZ0001
#PBS -l select=2:ncpus=128:mem=240640mb
#PBS -l place=scatter
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n

dask worker
