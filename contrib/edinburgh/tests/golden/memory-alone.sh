# https://github.com/nf-core/configs/blob/master/conf/eddie.config
# Cluster(site='eddie', memory='100GB')
#!/usr/bin/env bash
#$ -N dask-example
#$ -l h_rt=01:00:00
#$ -l h_vmem=95368M
#$ -o '/scratch/logs/$JOB_ID.$TASK_ID.log'
#$ -j y
#$ -S /bin/bash
#$ -r n

dask worker
