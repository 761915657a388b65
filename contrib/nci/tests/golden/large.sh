# https://github.com/nf-core/configs/blob/master/conf/nci_gadi.config
# Cluster(site='gadi', site_options={'storage': 'gdata/ab12+scratch/ab12'}, account='ab12', memory='500GiB')
#!/usr/bin/env bash
#PBS -N dask-example
#PBS -q hugemembw
#PBS -P ab12
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -o /dev/null
#PBS -m n
#PBS -l storage=gdata/ab12+scratch/ab12
#PBS -l ncpus=1
#PBS -l mem=512000mb

dask worker
