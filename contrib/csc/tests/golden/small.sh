# https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/lumic-job/
# Cluster(site='lumi', account='project_462000001', cores=128, memory='200GB', walltime='12h')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=small
#SBATCH --account=project_462000001
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --mem=190735M
#SBATCH --time=0-12:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue

export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
dask worker
