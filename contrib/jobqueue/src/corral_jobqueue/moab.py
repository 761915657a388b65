"""Moab: its jobs and clusters."""

from __future__ import annotations

from corral_jobqueue.pbs import PBSCluster, PBSJob


class MoabJob(PBSJob):
    """A job of Moab."""

    submit_command, cancel_command, config_name, cluster_class = "msub", "canceljob", "moab", "MoabCluster"


class MoabCluster(PBSCluster):
    """A cluster on Moab."""

    job_cls = MoabJob
