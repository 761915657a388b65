# https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/perlmutter.yaml
# Cluster(site='perlmutter', queue='debug', gpus=4, cores=128, memory='200GB', nodes=2, walltime='10min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --nodes=2
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --gpus-per-node=4
#SBATCH --time=0-00:10:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --qos=debug
#SBATCH --constraint=gpu

dask worker
