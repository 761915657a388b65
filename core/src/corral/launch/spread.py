"""A job of several nodes: start a launcher on each of them, and wait for all."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

from corral.launch.ending import Ended, Exit, say
from corral.launch.place import HANDED_DOWN, Place, handed_down
from corral.launch.zygote import WARNINGS

#: Remote shells start with an environment of their own.
_CARRIED = ("CORRAL_JOB_ID", "PYTHONHASHSEED", "MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


async def spread(place: Place, arguments: Sequence[str]) -> Ended:
    """Run a launcher on every host of the allocation, this one included, until all of them have ended."""
    assert place.manager is not None
    allocation = place.allocation
    carried = {name: os.environ[name] for name in _CARRIED if name in os.environ}
    carried[HANDED_DOWN] = handed_down(allocation)
    command = ["env", *(f"{name}={value}" for name, value in carried.items())]
    command += [sys.executable, "-m", "corral.launch", *arguments]
    argument_lists = place.manager.hook.launch_command(allocation=allocation, command=command)
    processes = []
    try:
        for argv in argument_lists:
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
