"""One program started many times: which of the processes this is, of how many, and what they all share."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

from attrs import frozen

from corral.errors import NoAllocation
from corral.plugin import discovery
from corral.plugin.facts import RankVariables


@frozen(kw_only=True)
class World:
    """All processes of one launch."""

    rank: int
    #: None: the launcher does not say.
    size: int | None
    #: The same in all processes of this launch, and in no other that lives at the same time.
    launch: str


#: Started inside of jobs, whose batch systems have launchers too: a process of mpiexec in a Slurm job has the batch
#: script's SLURM_PROCID.
_INNER = (RankVariables(rank="OMPI_COMM_WORLD_RANK", sizes=("OMPI_COMM_WORLD_SIZE",), launch=("PMIX_NAMESPACE",)),)
#: What launchers of batch systems may set beside their own.
_OUTER = (
    RankVariables(rank="PALS_RANKID", sizes=("PMI_SIZE",), launch=("PALS_APID",)),
    RankVariables(rank="PMIX_RANK", sizes=("PMIX_SIZE",), launch=("PMIX_NAMESPACE",)),
    RankVariables(rank="PMI_RANK", sizes=("PMI_SIZE",)),
)


def find_world(environ: Mapping[str, str]) -> World:
    """Read the launcher's variables.

    Raises
    ------
    NoAllocation
        No launcher that is known started this process.
    """
    facts = discovery.all_facts().values()
    launchers = [*_INNER, *(each.ranks for each in facts if each.ranks is not None), *_OUTER]
    for launcher in launchers:
        rank = environ.get(launcher.rank, "")
        if not rank.isdecimal() or (launcher.condition and launcher.condition not in environ):
            continue
        sizes = [environ[name] for name in launcher.sizes if environ.get(name, "").isdecimal()]
        return World(rank=int(rank), size=int(sizes[0]) if sizes else None, launch=_launch(launcher, environ))
    names = ", ".join(launcher.rank for launcher in launchers)
    raise NoAllocation(
        f"nothing says which rank this process is ({names} are not set). Start it with srun, mpiexec or flux run; "
        "to have workers without a launcher of ranks, use corral run"
    )


def _launch(launcher: RankVariables, environ: Mapping[str, str]) -> str:
    parts = [environ[name] for name in launcher.launch if name in environ]
    jobs = (name for facts in discovery.all_facts().values() for name in facts.job)
    parts = parts or [environ[name] for name in jobs if name in environ][:1]
    # Without any job, mpiexec on one machine: it is the parent of all.
    parts = parts or [socket.gethostname(), str(os.getppid())]
    return re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join([launcher.name, *parts]))
