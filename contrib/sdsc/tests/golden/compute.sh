# https://github.com/Parsl/parsl/blob/master/parsl/configs/expanse.py
# Cluster(site='expanse', groups=['expanse.compute'], account='abc123', nodes=2)
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=compute
#SBATCH --account=abc123
#SBATCH --nodes=2
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=128
#SBATCH --mem=249208M
#SBATCH --time=0-01:00:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --constraint=lustre

dask worker
