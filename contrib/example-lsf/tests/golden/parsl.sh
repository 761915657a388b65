# https://github.com/Parsl/parsl/blob/master/parsl/configs/summit.py
# Cluster(site='summit', account='ABC123', nodes=2, memory='100GB', walltime='10min')
#!/usr/bin/env bash
#BSUB -J dask-example
#BSUB -P ABC123
#BSUB -nnodes 2
#BSUB -W 10
#BSUB -o /dev/null

dask worker
