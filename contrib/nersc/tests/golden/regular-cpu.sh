# https://docs.nersc.gov/systems/perlmutter/running-jobs/
# Cluster(site='perlmutter', cores=256, memory='100GB', nodes=2, account='m0000')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --account=m0000
#SBATCH --nodes=2
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=256
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --qos=regular
#SBATCH --constraint=cpu

dask worker
