# https://github.com/NCAR/ncar-jobqueue/blob/main/ncar_jobqueue/ncar-jobqueue.yaml
# Cluster(site='derecho', site_options={'job_priority': 'economy'}, account='UXYZ0001', queue='develop', memory='4GB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q develop
#PBS -A UXYZ0001
#PBS -l select=1:ncpus=1:mem=3815mb
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l job_priority=economy

dask worker
