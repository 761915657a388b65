# https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/running_jobs.html
# Cluster(site='delta', account='abcd-delta-cpu', memory='100GB')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=cpu
#SBATCH --account=abcd-delta-cpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=95368M
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --constraint=scratch

dask worker
