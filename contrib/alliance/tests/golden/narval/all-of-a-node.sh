# https://docs.alliancecan.ca/wiki/Narval
# Cluster(site='narval', groups=['narval.cpu'])
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=def-someuser
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --mem=256000M
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

dask worker
