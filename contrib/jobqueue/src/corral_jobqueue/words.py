"""What dask-jobqueue's classes are called, what they take, and what they fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

#: Of every job, in the order in which dask-jobqueue documents them.
JOB_ARGUMENTS = (
    "name", "cores", "memory", "processes", "nanny", "protocol", "security", "interface", "death_timeout",
    "local_directory", "extra", "worker_command", "worker_extra_args", "job_extra", "job_extra_directives", "env_extra",
    "job_script_prologue", "job_script_epilogue", "header_skip", "job_directives_skip", "log_directory", "shebang",
    "python", "job_name", "config_name",
)  # fmt: skip
#: Of every cluster, beside those that it hands on to its jobs.
CLUSTER_ARGUMENTS = (
    "n_workers", "job_cls", "loop", "security", "shared_temp_directory", "silence_logs", "name", "asynchronous",
    "dashboard_address", "host", "scheduler_options", "scheduler_cls", "interface", "protocol", "config_name", "queue",
)  # fmt: skip
#: Arguments by what they are called since dask-jobqueue 0.8. ``project`` is one of them where there is ``account``.
DEPRECATED: Mapping[str, str] = {
    "project": "account",
    "extra": "worker_extra_args",
    "job_extra": "job_extra_directives",
    "env_extra": "job_script_prologue",
    "header_skip": "job_directives_skip",
}
#: Keys of the configuration that are heeded, beside a class's own; ``name`` is there what ``job_name`` is here.
_CONFIGURED = (
    *(word for word in JOB_ARGUMENTS if word not in ("nanny", "protocol", "security", "config_name", "name")),
    "shared_temp_directory", "scheduler_options",
)  # fmt: skip

WORKER_COMMAND = "distributed.cli.dask_worker"
JOB_NAME = "dask-worker"


@frozen(kw_only=True)
class Kind:
    """One of dask-jobqueue's classes."""

    backend: str
    #: Of its configuration, ``jobqueue.NAME``.
    section: str
    #: Before each of its directives; empty if it has none.
    prefix: str
    #: Arguments that others do not have.
    own: tuple[str, ...]
    #: Of its jobs, if nothing is said; None: they have none.
    walltime: str | None = "00:30:00"

    @property
    def arguments(self) -> frozenset[str]:
        """All that its cluster takes."""
        # A class without queues takes that word for a misspelt one.
        general = {word for word in (*JOB_ARGUMENTS, *CLUSTER_ARGUMENTS) if word != "queue"}
        return frozenset(general | set(self.own))

    @property
    def deprecated(self) -> Mapping[str, str]:
        return {old: new for old, new in DEPRECATED.items() if new != "account" or "account" in self.own}

    def configured(self, section: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a section of the configuration says, by argument; null, and keys of others, say nothing."""
        written = {str(key).replace("-", "_"): value for key, value in (section or {}).items()}
        written["job_name"] = written.pop("name", None)
        known = {*_CONFIGURED, *self.own, *self.deprecated}
        return {key: value for key, value in written.items() if value is not None and key in known}


_PBS = ("queue", "project", "account", "resource_spec", "walltime")
KINDS: Mapping[str, Kind] = {
    "SLURMCluster": Kind(
        backend="slurm", section="slurm", prefix="#SBATCH",
        own=("queue", "project", "account", "walltime", "job_cpu", "job_mem"),
    ),
    "PBSCluster": Kind(backend="pbs", section="pbs", prefix="#PBS", own=_PBS),
    "MoabCluster": Kind(backend="moab", section="moab", prefix="#PBS", own=_PBS),
    "SGECluster": Kind(
        backend="sge", section="sge", prefix="#$", own=("queue", "project", "resource_spec", "walltime")
    ),
    "LSFCluster": Kind(
        backend="lsf", section="lsf", prefix="#BSUB", walltime="00:30",
        own=("queue", "project", "ncpus", "mem", "walltime", "lsf_units", "use_stdin"),
    ),
    "OARCluster": Kind(
        backend="oar", section="oar", prefix="#OAR",
        own=("queue", "project", "resource_spec", "walltime", "memory_per_core_property_name"),
    ),
    "HTCondorCluster": Kind(
        backend="htcondor", section="htcondor", prefix="", walltime=None,
        own=("disk", "submit_command_extra", "cancel_command_extra"),
    ),
    "LocalCluster": Kind(
        backend="local", section="local", prefix="", walltime=None,
        own=("queue", "project", "resource_spec", "walltime"),
    ),
}  # fmt: skip


def seconds_as(kind: Kind, text: str) -> str:
    """A walltime as corral writes it, of what the class's batch system takes for one.

    Slurm and LSF count a bare number in minutes, OAR in hours, the others in seconds; ``"01:30"`` is minutes and
    seconds to some and hours and minutes to others: sbatch(1), qsub(1), bsub(1), oarsub(1).
    """
    text = text.strip()
    if match := re.fullmatch(r"(\d+)-(\d+)(:\d+)?(:\d+)?", text):
        return f"{match[1]}-{int(match[2]):02}{match[3] or ':00'}{match[4] or ':00'}"
    if re.fullmatch(r"\d+:\d+", text):
        first, second = text.split(":")
        if kind.backend in ("lsf", "oar"):
            return f"{int(first):02}:{int(second):02}:00"
        return f"{int(first) // 60:02}:{int(first) % 60:02}:{int(second):02}"
    if re.fullmatch(r"\d+", text):
        seconds = int(text) * {"slurm": 60, "lsf": 60, "oar": 3600}.get(kind.backend, 1)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text
