# https://docs.alliancecan.ca/wiki/Nibi
# Cluster(site='nibi', gpus=2, cores=28, memory='500GiB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=def-someuser
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=28
#SBATCH --mem=512000M
#SBATCH --gpus-per-node=h100:2
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

dask worker
