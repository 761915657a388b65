# https://github.com/cernops/dask-lxplus/blob/main/dask_lxplus/jobqueue-cern.yaml
# Cluster(site='lxplus', site_options={'image': '/cvmfs/unpacked.cern.ch/mine:latest'})
#!/usr/bin/env bash
universe = vanilla
batch_name = dask-example
description = dask-example
request_cpus = 1
request_memory = 3072M
allowed_job_duration = 3600
+MaxRuntime = 3600
job_max_vacate_time = 60
output = /scratch/logs/$(ClusterId).$(ProcId).log
error = /scratch/logs/$(ClusterId).$(ProcId).log
should_transfer_files = NO
getenv = PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ
environment = "CORRAL_JOB_ID=$(ClusterId).$(ProcId)"
periodic_remove = JobStatus == 5 && HoldReasonCode =!= 1 && HoldReasonCode =!= 15
MY.SingularityImage = "/cvmfs/unpacked.cern.ch/mine:latest"
request_disk = 20 GB

dask worker
