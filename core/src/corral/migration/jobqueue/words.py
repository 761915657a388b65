"""What dask-jobqueue's classes are called, what they take, and what they fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

#: What each argument of a job means, in the order in which dask-jobqueue documents them.
JOB_ARGUMENTS: Mapping[str, str] = {
    "name": "What the cluster is called; its jobs are called after it, or else by `job_name`.",
    "cores": "CPU cores of a job, which its workers share.",
    "memory": "Memory of a job, which its workers share: ``'24GB'`` (10^9 bytes), ``'24GiB'`` (2^30), or bytes.",
    "processes": "Workers of a job. Default: about the square root of `cores`.",
    "nanny": "Every worker has a nanny, whatever is said.",
    "protocol": "Default: TLS. ``'tcp'``: plain connections, open to everybody on the network.",
    "security": "A `distributed.Security`, or True for certificates made for this cluster, as by default.",
    "interface": "Network interface of workers and, unless `scheduler_options` says another, of the scheduler.",
    "death_timeout": "Seconds for which a worker looks for its scheduler. Default: 60.",
    "local_directory": "Where workers spill, on the node; ``$TMPDIR`` and other variables are the node's.",
    "extra": "Old: `worker_extra_args`.",
    "worker_command": "``dask_cuda.cli`` for a worker for each GPU.",
    "worker_extra_args": "Options of ``dask worker``: ``['--resources GPU=1']``.",
    "job_extra": "Old: `job_extra_directives`.",
    "job_extra_directives": "Directives of the batch system, without their prefix; of HTCondor a mapping.",
    "env_extra": "Old: `job_script_prologue`.",
    "job_script_prologue": "Lines of shell before the workers.",
    "job_script_epilogue": "Lines of shell after the workers.",
    "header_skip": "Old: `job_directives_skip`.",
    "job_directives_skip": "Directives to leave out, by name or by a part of them as dask-jobqueue writes them.",
    "log_directory": "Where the jobs' logs go. Default: corral's folder, where those of failed jobs are kept.",
    "shebang": "First line of the job's script: a shell like sh or bash.",
    "python": "The Python of the workers. Default: this one.",
    "job_name": "What jobs are called, if the cluster has no name. Default: dask-worker.",
    "config_name": "The section ``jobqueue.NAME`` of the configuration that says what is not said here.",
}
#: Of every cluster, beside those that it hands on to its jobs.
CLUSTER_ARGUMENTS: Mapping[str, str] = {
    "n_workers": "Workers to ask for at once.",
    "job_cls": "The class of its jobs.",
    "loop": "The event loop of a synchronous cluster.",
    "security": JOB_ARGUMENTS["security"],
    "shared_temp_directory": "A folder that this host and the nodes share, for certificates and logs.",
    "silence_logs": "Dask's own messages below this level are not shown. Default: error.",
    "name": JOB_ARGUMENTS["name"],
    "asynchronous": "True if used inside a running event loop.",
    "dashboard_address": "Refused: it goes into `scheduler_options`.",
    "host": "Refused: it goes into `scheduler_options`.",
    "scheduler_options": "Keyword arguments of `distributed.Scheduler`: host, port, interface, dashboard_address.",
    "scheduler_cls": "Refused: the scheduler is corral's.",
    "interface": JOB_ARGUMENTS["interface"],
    "protocol": JOB_ARGUMENTS["protocol"],
    "config_name": JOB_ARGUMENTS["config_name"],
    "queue": "Queue, or partition.",
}
#: Of some classes.
OWN_ARGUMENTS: Mapping[str, str] = {
    "queue": "Queue, or partition.",
    "account": "Account that pays for the jobs.",
    "project": "Account, or project, that pays for the jobs; where there is `account`, the old word for it.",
    "walltime": "How long a job may run, as the batch system writes it. Default: half an hour.",
    "resource_spec": "What ``-l`` asks for, instead of `cores` and `memory`, which workers still share.",
    "job_cpu": "Cores that the batch system is asked for, if that is not `cores`.",
    "job_mem": "Memory that the batch system is asked for, if that is not `memory`.",
    "ncpus": "Cores that the batch system is asked for, if that is not `cores`.",
    "mem": "Memory of a job in bytes, instead of `memory`.",
    "lsf_units": "The unit of memory, as LSF_UNIT_FOR_LIMITS in lsf.conf says it.",
    "use_stdin": "Jobs are submitted by standard input, whatever is said.",
    "memory_per_core_property_name": "The site's property by which memory is asked for, or ``'not_applicable'``.",
    "disk": "Scratch space of a job. Default: as much as its memory.",
    "submit_command_extra": "Further words for condor_submit.",
    "cancel_command_extra": "Further words for condor_rm.",
}
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

    def described(self, summary: str) -> str:
        """A docstring with all arguments."""
        general = {**JOB_ARGUMENTS, **{word: said for word, said in CLUSTER_ARGUMENTS.items() if word != "queue"}}
        lines = [summary, "", "Parameters", "----------"]
        for word, said in {**{word: OWN_ARGUMENTS[word] for word in self.own}, **general}.items():
            lines += [f"{word} :", f"    {said}"]
        raised = ["", "Raises", "------", "InvalidRequest", "    An argument cannot be used here; a ValueError."]
        return "\n".join([*lines, *raised])

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


def usual_processes(cores: int) -> int:
    """Workers of a job with so many cores, if nobody says how many: as dask-jobqueue has it of distributed.

    One for each core up to four; else the least divisor that is not below the square root.
    """
    if cores <= 4:
        return max(1, cores)
    return min(number for number in range(1, cores + 1) if cores % number == 0 and number * number >= cores)


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
