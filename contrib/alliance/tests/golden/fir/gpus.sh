# https://docs.alliancecan.ca/wiki/Fir
# Cluster(site='fir', gpus=2, cores=12, memory='100GiB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=def-someuser
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=102400M
#SBATCH --gpus-per-node=h100:2
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

dask worker
