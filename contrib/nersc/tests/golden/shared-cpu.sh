# https://docs.nersc.gov/jobs/policy/
# Cluster(site='perlmutter', cores=2, memory='4GB', walltime='10min')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=3815M
#SBATCH --time=0-00:10:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --qos=shared
#SBATCH --constraint=cpu

dask worker
