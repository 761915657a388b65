# https://github.com/nf-core/configs/blob/master/docs/eddie.md
# Cluster(site='eddie', memory='8GiB')
#!/usr/bin/env bash
#$ -N dask-example
#$ -l h_rt=01:00:00
#$ -l h_vmem=8192M
#$ -o '/scratch/logs/$JOB_ID.$TASK_ID.log'
#$ -j y
#$ -S /bin/bash
#$ -r n

dask worker
