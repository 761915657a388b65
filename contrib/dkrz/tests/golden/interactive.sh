# https://docs.dkrz.de/doc/levante/running-jobs/partitions-and-limits.html
# Cluster(site='levante', account='ab0123', queue='interactive', memory='16GB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=interactive
#SBATCH --account=ab0123
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=15259M
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

dask worker
