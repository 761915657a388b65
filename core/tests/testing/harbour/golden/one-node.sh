# https://docs.harbour.example/jobs#one-node
# Cluster(site='harbour', account='physics', cores=128, memory='400GB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=batch
#SBATCH --account=physics
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --mem=476838M
#SBATCH --time=0-02:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue
#SBATCH --constraint=scratch

dask worker
