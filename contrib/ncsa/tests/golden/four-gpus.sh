# https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/running_jobs.html
# Cluster(site='delta', groups=['delta.a100'], account='abcd-delta-gpu', walltime='4h')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=gpuA100x4
#SBATCH --account=abcd-delta-gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --mem=219346M
#SBATCH --gpus-per-node=4
#SBATCH --time=0-04:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --constraint=scratch

dask worker
