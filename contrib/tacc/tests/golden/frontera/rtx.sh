# https://docs.tacc.utexas.edu/hpc/frontera/
# Cluster(site='frontera', groups=['frontera.rtx'])
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=rtx
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%j.log
#SBATCH --no-requeue

dask worker
