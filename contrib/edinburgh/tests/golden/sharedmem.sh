# https://github.com/nf-core/configs/blob/master/conf/eddie.config
# Cluster(site='eddie', cores=8, memory='64GiB', walltime='240h')
#!/usr/bin/env bash
#$ -N dask-example
#$ -pe sharedmem 8
#$ -l h_rt=240:00:00
#$ -l h_vmem=8192M
#$ -o '/scratch/logs/$JOB_ID.$TASK_ID.log'
#$ -j y
#$ -S /bin/bash
#$ -r n

dask worker
