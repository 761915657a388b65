# https://docs.dkrz.de/doc/levante/running-jobs/partitions-and-limits.html
# Cluster(site='levante', account='ab0123', memory='400GB', cores=64)
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=compute
#SBATCH --account=ab0123
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --mem=0
#SBATCH --constraint=512G

dask worker
