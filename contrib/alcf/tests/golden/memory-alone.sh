# https://docs.alcf.anl.gov/polaris/running-jobs/
# Cluster(site='polaris', account='Catalyst', memory='100GB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q preemptable
#PBS -A Catalyst
#PBS -l select=1:ncpus=64:ngpus=4:system=polaris
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l filesystems=home:eagle

dask worker
