# https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/running_jobs.html
# Cluster(site='delta', account='abcd-delta-gpu', queue='gpuA40x4', gpus=1, cores=16, memory='50GiB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=gpuA40x4
#SBATCH --account=abcd-delta-gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=51200M
#SBATCH --gpus-per-node=1
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --constraint=scratch

dask worker
