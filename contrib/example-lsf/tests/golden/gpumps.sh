# https://docs.olcf.ornl.gov/systems/summit_user_guide.html
# Cluster(site='summit', site_options={'alloc_flags': 'gpumps'}, groups=['summit.node'], account='ABC123', nodes=2, walltime='2h')
#!/usr/bin/env bash
#BSUB -J dask-example
#BSUB -P ABC123
#BSUB -nnodes 2
#BSUB -W 120
#BSUB -o /dev/null
#BSUB -alloc_flags "gpumps"

dask worker
