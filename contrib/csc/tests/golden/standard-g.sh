# https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/lumig-job/
# Cluster(site='lumi', groups=['lumi.g'], account='project_462000001', nodes=2, walltime='1-12:00:00')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=standard-g
#SBATCH --account=project_462000001
#SBATCH --nodes=2
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=56
#SBATCH --gpus-per-node=8
#SBATCH --time=1-12:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --mem=0

export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
dask worker
