# https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/frontera.yaml
# Cluster(site='frontera', queue='development', nodes=2, memory='100GB', walltime='30min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=development
#SBATCH --nodes=2
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=56
#SBATCH --time=0-00:30:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%j.log
#SBATCH --no-requeue

dask worker
