# https://batchdocs.web.cern.ch/local/submit.html
# Cluster(site='lxplus', cores=4, memory='12GiB')
#!/usr/bin/env bash
universe = vanilla
batch_name = dask-example
description = dask-example
request_cpus = 4
request_memory = 12288M
allowed_job_duration = 3600
+MaxRuntime = 3600
job_max_vacate_time = 60
output = /scratch/logs/$(ClusterId).$(ProcId).log
error = /scratch/logs/$(ClusterId).$(ProcId).log
should_transfer_files = NO
getenv = PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ
environment = "CORRAL_JOB_ID=$(ClusterId).$(ProcId)"
periodic_remove = JobStatus == 5 && HoldReasonCode =!= 1 && HoldReasonCode =!= 15
request_disk = 80 GB

dask worker
