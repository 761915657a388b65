"""Where dask-jobqueue has these two, for those who import them from there."""

from __future__ import annotations

from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job

__all__ = ["Job", "JobQueueCluster"]
