# https://batchdocs.web.cern.ch/local/spool.html
# Cluster(site='lxplus', site_options={'spool': 'yes'})
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
getenv = PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ
environment = "CORRAL_JOB_ID=$(ClusterId).$(ProcId)"
periodic_remove = JobStatus == 5 && HoldReasonCode =!= 1 && HoldReasonCode =!= 15
request_disk = 20 GB
should_transfer_files = YES
transfer_output_files = ""

dask worker
