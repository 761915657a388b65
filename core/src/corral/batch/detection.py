"""Which batch system a cluster uses when nobody named one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from corral.batch.runner import Runner
from corral.errors import UnknownBackend
from corral.host.limits import threads_allowed
from corral.plugin import discovery
from corral.plugin.values import Detected

logger = logging.getLogger("corral")

#: Commands of batch systems that are not installed as plugins, perhaps: a login node must be known without any.
_COMMANDS = ("sbatch", "qsub", "bsub", "condor_submit", "oarsub", "flux", "msub")


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
        here = thread.submit(lambda: asyncio.run(discovery.detect_all(Runner(timeout=20.0), site=site))).result()
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
    everywhere = discovery.everywhere()
    if traces:
        names = ", ".join(plugin.name for plugin in discovery.usable("backend"))
        raise UnknownBackend(
            f"no batch system answers here, but there are traces of one ({', '.join(traces)}). Name it with backend= "
            f"(installed: {names}), or use this machine alone with backend={everywhere!r}. `corral backends` says why "
            "each does not answer, and which plugins can be installed."
        )
    return everywhere, "there is no trace of a batch system on this machine"


def traces(environ: Mapping[str, str]) -> list[str]:
    """What on this host speaks for a batch system."""
    every = discovery.all_facts().values()
    commands = dict.fromkeys((*_COMMANDS, *(command for facts in every for command in facts.commands)))
    return [
        *(command for command in commands if shutil.which(command, path=environ.get("PATH"))),
        *(name for facts in every for name in facts.variables if name in environ),
        *(path for facts in every for path in facts.files if Path(path).exists()),
    ]
