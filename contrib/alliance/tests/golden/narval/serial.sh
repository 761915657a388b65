# https://docs.alliancecan.ca/wiki/Running_jobs
# Cluster(site='narval', memory='4GiB', walltime='15min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=def-someuser
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4096M
#SBATCH --time=0-00:15:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

dask worker
