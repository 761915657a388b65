# https://docs.harbour.example/matlab
# Cluster(site='island', site_options={'licence': 'matlab'}, groups=['island.gpu'], account='physics')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=gpu
#SBATCH --account=physics
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=114441M
#SBATCH --gres=gpu:1
#SBATCH --time=0-02:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue
#SBATCH --constraint=scratch
#SBATCH --licenses=matlab

dask worker
