# https://docs.nersc.gov/systems/perlmutter/running-jobs/
# Cluster(site='perlmutter', gpus=1, cores=32, memory='60GB', account='m0000')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=m0000
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=57221M
#SBATCH --gpus-per-node=1
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --qos=shared
#SBATCH --constraint=gpu

dask worker
