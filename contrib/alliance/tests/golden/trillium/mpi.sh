# https://docs.alliancecan.ca/wiki/Trillium_Quickstart
# Cluster(site='trillium', groups=['trillium.cpu'], nodes=2)
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=def-someuser
#SBATCH --nodes=2
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=192
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
dask worker
