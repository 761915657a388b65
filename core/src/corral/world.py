"""One program started many times: which of the processes this is, of how many, and what they all share."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

from attrs import frozen

from corral.errors import NoAllocation


@frozen(kw_only=True)
class World:
    """All processes of one launch."""

    rank: int
    #: None: the launcher does not say.
    size: int | None
    #: The same in all processes of this launch, and in no other that lives at the same time.
    launch: str


@frozen
class _Launcher:
    """What a parallel launcher puts into the environment of each process."""

    rank: str
    sizes: tuple[str, ...]
    #: All of these name the launch; with none of them set, the batch job does.
    identity: tuple[str, ...]
    #: It is this launcher only if this variable is set as well.
    condition: str = ""


#: Those started inside of others come first: a process of mpiexec in a Slurm job has the batch script's SLURM_PROCID.
_LAUNCHERS = (
    _Launcher("OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",), ("PMIX_NAMESPACE",)),
    _Launcher("FLUX_TASK_RANK", ("FLUX_JOB_SIZE",), ("FLUX_JOB_ID",)),
    # A batch script has SLURM_PROCID too, but no step.
    _Launcher(
        "SLURM_PROCID",
        ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
        condition="SLURM_STEP_ID",
    ),
    _Launcher("PALS_RANKID", ("PMI_SIZE",), ("PALS_APID",)),
    _Launcher("PMIX_RANK", ("PMIX_SIZE",), ("PMIX_NAMESPACE",)),
    _Launcher("PMI_RANK", ("PMI_SIZE",), ()),
)

#: Ids of batch jobs, for launchers that do not name their launches.
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "OAR_JOB_ID", "FLUX_JOB_ID")


def find_world(environ: Mapping[str, str]) -> World:
    """Read the launcher's variables.

    Raises
    ------
    NoAllocation
        No launcher that is known started this process.
    """
    for launcher in _LAUNCHERS:
        rank = environ.get(launcher.rank, "")
        if not rank.isdecimal() or (launcher.condition and launcher.condition not in environ):
            continue
        sizes = [environ[name] for name in launcher.sizes if environ.get(name, "").isdecimal()]
        return World(rank=int(rank), size=int(sizes[0]) if sizes else None, launch=_launch(launcher, environ))
    names = ", ".join(launcher.rank for launcher in _LAUNCHERS)
    raise NoAllocation(
        f"nothing says which rank this process is ({names} are not set). Start it with srun, mpiexec or flux run; "
        "to have workers without a launcher of ranks, use corral run"
    )


def _launch(launcher: _Launcher, environ: Mapping[str, str]) -> str:
    parts = [environ[name] for name in launcher.identity if name in environ]
    parts = parts or [environ[name] for name in _JOBS if name in environ][:1]
    # Without any job, mpiexec on one machine: it is the parent of all.
    parts = parts or [socket.gethostname(), str(os.getppid())]
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join([launcher.rank.partition("_")[0].lower(), *parts]))
