# https://docs.tacc.utexas.edu/hpc/stampede3/
# Cluster(site='stampede3', groups=['stampede3.spr'], nodes=4, walltime='90min', account='myproject')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=spr
#SBATCH --account=myproject
#SBATCH --nodes=4
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=112
#SBATCH --time=0-01:30:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%A_%a.log
#SBATCH --no-requeue

dask worker
