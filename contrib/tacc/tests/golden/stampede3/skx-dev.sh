# https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/stampede3.yaml
# Cluster(site='stampede3', queue='skx-dev', memory='100GB', walltime='30min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=skx-dev
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=48
#SBATCH --time=0-00:30:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue

dask worker
