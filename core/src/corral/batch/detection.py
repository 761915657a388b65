"""Which batch systems are here, and which one a cluster uses when nobody named one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from corral.batch.runner import Runner
from corral.errors import CommandNotFound, CorralError, InvalidRequest, PluginError, UnknownBackend
from corral.host.limits import threads_allowed
from corral.plugin import discovery
from corral.plugin.hookspecs import CONTRACT
from corral.plugin.values import Conversation, Detected
from corral.ssh.connection import Connection
from corral.text.logs import logger_of

logger = logger_of()

#: Commands of batch systems that are not installed as plugins, perhaps: a login node must be known without any.
_COMMANDS = ("sbatch", "qsub", "bsub", "condor_submit", "oarsub", "flux", "msub")


def choose(
    site: str | None = None, site_options: Mapping[str, Any] | None = None, via: Connection | None = None
) -> str:
    """The site's batch system, or the one that answers here, or, where there is no trace of any, the embedded queue.

    A login node must not become a compute node because its batch system is down for a moment.

    Parameters
    ----------
    via
        The way to the host that is asked instead of this one. The embedded queue, which is here, is no choice then.

    Raises
    ------
    UnknownBackend
        None answers although there are traces of one, or several answer.
    """
    # Also called from inside a running event loop: the questions have a loop of their own.
    with threads_allowed(), concurrent.futures.ThreadPoolExecutor(1) as thread:
        here = thread.submit(
            lambda: asyncio.run(detect_all(Runner(timeout=20.0, via=via), site=site, site_options=site_options))
        ).result()
    name, why = decide(here, traces(os.environ)) if via is None else decide_there(here, str(via))
    logger.info("backend %r: %s", name, why, backend=name)
    return name


def decide(here: Mapping[str, Detected], traces: list[str]) -> tuple[str, str]:
    """The backend and the reason."""
    match list(here.items()):
        case [(name, detected)]:
            return name, f"{_words(name, detected)} answers here"
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


def decide_there(there: Mapping[str, Detected], host: str) -> tuple[str, str]:
    """The backend and the reason, where commands are carried to another host."""
    match list(there.items()):
        case [(name, detected)]:
            return name, f"{_words(name, detected)} answers on {host}"
        case [_, _, *_]:
            raise UnknownBackend(
                f"several batch systems answer on {host}: {', '.join(there)}. Choose one with backend=",
                installed=tuple(there),
            )
    names = ", ".join(plugin.name for plugin in discovery.usable("backend") if not plugin.facts.is_everywhere)
    raise UnknownBackend(
        f"no batch system answers on {host}. Name it with backend= (installed: {names}). "
        "`corral backends --via` says why each does not answer"
    )


def _words(name: str, detected: Detected) -> str:
    """Its version, which is mostly not said without its name; else its name alone."""
    return detected.version or name


def traces(environ: Mapping[str, str]) -> list[str]:
    """What on this host speaks for a batch system."""
    every = discovery.all_facts().values()
    commands = dict.fromkeys((*_COMMANDS, *(command for facts in every for command in facts.commands)))
    return [
        *(command for command in commands if shutil.which(command, path=environ.get("PATH"))),
        *(name for facts in every for name in facts.variables if name in environ),
        *(path for facts in every for path in facts.files if Path(path).exists()),
    ]


# --- who is here ------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Surveyed:
    """What became of asking one backend whether its batch system is here."""

    plugin: discovery.Installed
    #: None: it is not, or cannot be known.
    detected: Detected | None = None
    #: Why it was not detected; empty if it was.
    reason: str = ""
    #: The plugin is in order.
    is_usable: bool = True


async def survey(
    runner: Runner,
    *,
    site: str | None = None,
    site_options: Mapping[str, Any] | None = None,
    only: discovery.Installed | None = None,
) -> list[Surveyed]:
    """Ask every installed backend at once; also those that cannot be used are told, with the reason.

    The embedded queue is here wherever corral is. What goes wrong with one backend does not disturb the others.

    Parameters
    ----------
    only
        This one alone is asked.
    """
    available = discovery.installed() if only is None else [only]

    async def find(plugin: discovery.Installed) -> Surveyed:
        try:
            manager = discovery.load(plugin.name, site=site, site_options=site_options, among=available)
            conversation: Conversation[Detected | None] = manager.hook.detect()
            if plugin.facts.is_everywhere:
                return Surveyed(plugin=plugin, detected=Detected(version="this machine"))
            detected = await runner.converse(conversation)
        except CommandNotFound as error:
            where = f"on {error.host}" if error.host else "here"
            return Surveyed(plugin=plugin, reason=f"there is no {error.command.argv[0]!r} {where}")
        except (PluginError, InvalidRequest) as error:
            logger.debug(
                "backend %r cannot say whether its batch system is here: %s", plugin.name, discovery.said(error)
            )
            problem = error.problem if isinstance(error, PluginError) else str(error)
            return Surveyed(plugin=plugin, reason=problem, is_usable=False)
        except (Exception, SystemExit) as error:
            logger.debug(
                "backend %r cannot say whether its batch system is here: %s", plugin.name, discovery.said(error)
            )
            words = str(error) if isinstance(error, CorralError) else discovery.said(error)
            return Surveyed(plugin=plugin, reason=words)
        if detected is None:
            return Surveyed(
                plugin=plugin, reason="its commands are here, and are another batch system's or say nothing"
            )
        return Surveyed(plugin=plugin, detected=detected)

    strangers = [
        Surveyed(plugin=plugin, reason=discovery.other_contract(plugin).problem, is_usable=False)
        for plugin in available
        if plugin.kind == "backend" and plugin.contract != CONTRACT
    ]
    return [*await asyncio.gather(*map(find, discovery.usable("backend", available))), *strangers]


async def detect_all(
    runner: Runner, *, site: str | None = None, site_options: Mapping[str, Any] | None = None
) -> dict[str, Detected]:
    """Ask every installed backend at once whether its batch system is here; one that is everywhere is not asked.

    A backend that cannot be loaded, or whose question fails, is left out: it must not disturb the others.
    """
    return {
        each.plugin.name: each.detected
        for each in await survey(runner, site=site, site_options=site_options)
        if each.detected is not None and not each.plugin.facts.is_everywhere
    }
