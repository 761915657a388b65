# https://docs.dkrz.de/doc/levante/running-jobs/partitions-and-limits.html
# Cluster(site='levante', account='ab0123', gpus=1, cores=32, memory='100GB', walltime='12h')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=gpu
#SBATCH --account=ab0123
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=95368M
#SBATCH --gres=gpu:1
#SBATCH --time=0-12:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

dask worker
