"""Which batch system a cluster uses when nobody named one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from corral import plugins
from corral.domain import Detected
from corral.errors import UnknownBackend
from corral.network import threads_allowed
from corral.runner import Runner

logger = logging.getLogger("corral")

#: Signs of a batch system, whether or not it answers just now.
COMMANDS = ("sbatch", "qsub", "bsub", "condor_submit", "oarsub", "flux", "msub")
VARIABLES = ("SLURM_CONF", "PBS_CONF_FILE", "SGE_ROOT", "LSF_ENVDIR", "CONDOR_CONFIG", "FLUX_URI")
FILES = ("/etc/slurm", "/etc/slurm-llnl", "/etc/pbs.conf", "/etc/condor", "/etc/oar", "/etc/lsf.conf")


def choose(site: str | None = None) -> str:
    """The site's batch system, or the one that answers here, or, where there is no trace of any, the embedded queue.

    A login node must not become a compute node because its batch system is down for a moment.

    Raises
    ------
    UnknownBackend
        None answers although there are traces of one, or several answer.
    """
    # Also called from inside a running event loop: the questions have a loop of their own.
    with threads_allowed(), concurrent.futures.ThreadPoolExecutor(1) as thread:
        here = thread.submit(lambda: asyncio.run(plugins.detect_all(Runner(timeout=20.0), site=site))).result()
    name, why = decide(here, traces(os.environ))
    logger.info("backend %r: %s", name, why)
    return name


def decide(here: Mapping[str, Detected], traces: list[str]) -> tuple[str, str]:
    """The backend and the reason."""
    match list(here.items()):
        case [(name, detected)]:
            return name, f"{detected.version} answers here"
        case [_, _, *_]:
            raise UnknownBackend(
                f"several batch systems answer here: {', '.join(here)}. Choose one with backend=", installed=tuple(here)
            )
    if traces:
        raise UnknownBackend(
            f"no batch system answers here, but there are traces of one ({', '.join(traces)}). Name it with backend= "
            f"(installed: {', '.join(plugin.name for plugin in plugins.usable('backend'))}), or use this machine alone "
            "with backend='local'. `corral backends` says why each does not answer, and which plugins can be installed."
        )
    return "local", "there is no trace of a batch system on this machine"


def traces(environ: Mapping[str, str]) -> list[str]:
    """What on this host speaks for a batch system."""
    commands = [command for command in COMMANDS if shutil.which(command, path=environ.get("PATH"))]
    return [
        *commands,
        *(name for name in VARIABLES if name in environ),
        *(path for path in FILES if Path(path).exists()),
    ]
