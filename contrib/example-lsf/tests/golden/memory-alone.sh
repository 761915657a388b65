# https://docs.olcf.ornl.gov/systems/summit_user_guide.html
# Cluster(site='summit', account='ABC123', memory='100GB')
#!/usr/bin/env bash
#BSUB -J dask-example
#BSUB -P ABC123
#BSUB -nnodes 1
#BSUB -W 60
#BSUB -o /dev/null

dask worker
