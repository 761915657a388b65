"""OAR: its jobs and clusters."""

from __future__ import annotations

from corral.migration.jobqueue import native
from corral_jobqueue.cluster import JobQueueCluster
from corral_jobqueue.job import Job


class OARJob(Job):
    """A job of OAR."""

    submit_command, cancel_command, config_name, cluster_class = "oarsub", "oardel", "oar", "OARCluster"
    job_id_regexp = r"OAR_JOB_ID=(?P<job_id>\d+)"

    def _write_header(self) -> None:
        super()._write_header()
        where = self.said.get("memory_per_core_property_name")
        if where in (None, "not_applicable"):
            return
        condition = f"{where}>={-(-self.worker_memory // (int(self.worker_cores) * 2**20))}"
        if (users := native.last_property(self.job_extra_directives)) is not None:
            condition = f"'{users} AND {condition}'"
        self.job_header += f"\n#OAR -p {condition}"


class OARCluster(JobQueueCluster):
    """A cluster on OAR."""

    job_cls = OARJob
