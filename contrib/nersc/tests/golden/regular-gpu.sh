# https://docs.nersc.gov/systems/perlmutter/running-jobs/
# Cluster(site='perlmutter', groups=['perlmutter.gpu'], account='m0000', walltime='5min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=m0000
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --gpus-per-node=4
#SBATCH --time=0-00:05:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --qos=regular
#SBATCH --constraint=gpu

dask worker
