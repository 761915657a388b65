# https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/running_jobs.html
# Cluster(site='delta', account='abcd-delta-cpu', cores=4, memory='16GiB', walltime='10min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=cpu
#SBATCH --account=abcd-delta-cpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16384M
#SBATCH --time=0-00:10:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --constraint=scratch

dask worker
