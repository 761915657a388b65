# https://docs.tacc.utexas.edu/hpc/stampede3/
# Cluster(site='stampede3', memory='100GB', gpus=1)
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=h100
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=96
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue

dask worker
