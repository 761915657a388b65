# https://docs.tacc.utexas.edu/hpc/frontera/
# Cluster(site='frontera', groups=['frontera.clx'], nodes=4, walltime='90min', account='myproject')
#!/usr/bin/env bash
#SBATCH --job-name=dask-example
#SBATCH --partition=normal
#SBATCH --account=myproject
#SBATCH --nodes=4
#SBATCH --no-kill
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=56
#SBATCH --time=0-01:30:00
#SBATCH --signal=B:TERM@0
#SBATCH --output=/scratch/logs/%j.log
#SBATCH --no-requeue

dask worker
