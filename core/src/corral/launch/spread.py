"""A job of several nodes: start a launcher on each of them, and wait for all."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from corral.launch import elsewhere
from corral.launch.ending import Ended, Exit, say
from corral.launch.place import HANDED_DOWN, Place, handed_down
from corral.launch.zygote import WARNINGS

if TYPE_CHECKING:
    import pluggy

    from corral.plugin.values import Allocation

#: Remote shells start with an environment of their own; of scripts that are not corral's this much is known to matter.
_CARRIED = (
    "CORRAL_JOB_ID", "PYTHONPATH", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS",
    "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip

#: What runs a launcher.
_PYTHON = (sys.executable, "-P", "-m", "corral.launch")


def launcher_commands(
    manager: pluggy.PluginManager,
    allocation: Allocation,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """The argument lists that run a launcher on every host of an allocation, this one included.

    Parameters
    ----------
    arguments
        The launchers' command line.
    environment
        What they should see, where this process's own says nothing else.
    """
    carried = {**(environment or {}), **{name: os.environ[name] for name in _CARRIED if name in os.environ}}
    carried[HANDED_DOWN] = handed_down(allocation, manager)
    command = ["env", *(f"{name}={value}" for name, value in carried.items())]
    command += [*_PYTHON, *arguments]
    if len(allocation.hosts) == 1:
        return [[*command, "--node-index=0"]]
    return on_each_host(manager, allocation, command)


def on_each_host(manager: pluggy.PluginManager, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
    """The argument lists that run `command` on every host; where each has one of its own, it hears which host it is.

    Batch systems may know hosts by names that the hosts themselves do not use.
    """
    hosts = len(allocation.hosts)
    lists: list[list[str]] = manager.hook.launch_command(allocation=allocation, command=command)
    if len(lists) != hosts:
        return lists
    told = ([*command, f"--node-index={index}"] for index in range(hosts))
    return [
        manager.hook.launch_command(allocation=allocation, command=words)[index] for index, words in enumerate(told)
    ]


async def spread(place: Place, arguments: Sequence[str], credentials: str) -> Ended:
    """Run a launcher on every host of the allocation, this one included, until all of them have ended.

    Parameters
    ----------
    credentials
        Their file; in its folder the other nodes find what the job's script has set up on this one.
    """
    assert place.manager is not None
    allocation = place.allocation
    words = elsewhere.python_words(os.environ, arguments, _PYTHON)
    handed = {HANDED_DOWN: handed_down(allocation, place.manager)}
    with elsewhere.written_for_other_nodes(
        credentials, place.job_id, handed, [*words, *arguments], os.environ
    ) as command:
        if command is None:
            return await _run_all(allocation, launcher_commands(place.manager, allocation, arguments))
        return await _run_all(allocation, on_each_host(place.manager, allocation, command))


async def _run_all(allocation: Allocation, commands: Sequence[Sequence[str]]) -> Ended:
    processes = []
    try:
        for argv in commands:
            processes.append(await asyncio.create_subprocess_exec(*argv))
    except OSError as error:
        for process in processes:
            process.kill()
        return Ended(Exit.FAILED, f"cannot start {shlex.join(argv)}: {error.strerror}")

    def pass_on(number: int) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    loop = asyncio.get_running_loop()
    for number in WARNINGS:
        loop.add_signal_handler(number, pass_on, number)
    say(f"job {allocation.job_id} on {len(allocation.hosts)} hosts")
    codes = await asyncio.gather(*(process.wait() for process in processes))
    return Ended(max(codes, key=abs), f"job {allocation.job_id} has ended on all hosts")
