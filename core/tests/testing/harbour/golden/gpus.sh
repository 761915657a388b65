# https://docs.harbour.example/jobs#gpus
# Cluster(site='harbour', account='physics', gpus=2, cores=32, memory='200GB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=gpu
#SBATCH --account=physics
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=190735M
#SBATCH --gres=gpu:2
#SBATCH --time=0-02:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue
#SBATCH --constraint=scratch

dask worker
