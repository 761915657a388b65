# https://docs.dkrz.de/doc/levante/running-jobs/partitions-and-limits.html
# Cluster(site='levante', groups=['levante.compute'], account='ab0123', nodes=4, walltime='8h')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=compute
#SBATCH --account=ab0123
#SBATCH --nodes=4
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --time=0-08:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --mem=0

dask worker
