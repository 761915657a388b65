# https://docs.tacc.utexas.edu/hpc/frontera/
# Cluster(site='frontera', memory='4GB', walltime='90min', account='myproject')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=small
#SBATCH --account=myproject
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=56
#SBATCH --time=0-01:30:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%j.log
#SBATCH --no-requeue

dask worker
