# https://docs.harbour.example/matlab
# Cluster(site='quay', site_options={'licence': 'matlab'}, groups=['quay.gpu'], account='physics')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=gpu
#SBATCH --account=physics
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=7153M
#SBATCH --gres=gpu:1
#SBATCH --time=0-02:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%j.log
#SBATCH --no-requeue
#SBATCH --constraint=scratch
#SBATCH --licenses=matlab

dask worker
