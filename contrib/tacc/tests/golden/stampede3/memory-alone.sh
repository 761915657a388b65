# https://docs.tacc.utexas.edu/hpc/stampede3/
# Cluster(site='stampede3', memory='100GB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=skx
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=48
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue

dask worker
