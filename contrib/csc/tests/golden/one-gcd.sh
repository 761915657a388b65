# https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/partitions/
# Cluster(site='lumi', account='project_462000001', gpus=1, cores=7, memory='60GB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=small-g
#SBATCH --account=project_462000001
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=7
#SBATCH --mem=57221M
#SBATCH --gpus-per-node=1
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
dask worker
