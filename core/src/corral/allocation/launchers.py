"""The launchers of an allocation: commands that start workers on its nodes, and how they end."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from distributed import Scheduler

from corral.errors import CorralError

#: Seconds for a launcher to answer, and to end after it was asked or signalled.
_ANSWER = 3.0
_PATIENCE = 5.0


class Launchers:
    """Child processes, of which each starts workers on one node or on all."""

    def __init__(self) -> None:
        self._processes: list[asyncio.subprocess.Process] = []
        self._watching: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        """How many were started."""
        return len(self._processes)

    @property
    def have_failed(self) -> bool:
        """True if all have ended, and one of them not well."""
        codes = [each.returncode for each in self._processes]
        return None not in codes and any(codes)

    async def start(self, commands: Iterable[Sequence[str]], on_end: Callable[[Sequence[str], int], None]) -> None:
        """Start them.

        Parameters
        ----------
        on_end
            Called with the command and the exit code of each that has ended.

        Raises
        ------
        CorralError
            One cannot be started.
        """
        for argv in commands:
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    # Ctrl-C is for the script.
                    process_group=0,
                )
            except OSError as error:
                raise CorralError(f"cannot start {shlex.join(argv)}: {error.strerror}") from error
            self._processes.append(process)
            self._watching.append(asyncio.create_task(_watch(process, argv, on_end)))

    async def stop(self, scheduler: Scheduler) -> None:
        """Let workers stop before their scheduler does: then they have no complaints."""
        if not await _ask_one(scheduler):
            # They are still starting, and have nothing to finish.
            self.signal(signal.SIGTERM)
        await self._wait()

    async def end(self) -> None:
        """End what still runs."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            await self._wait()

    def signal(self, number: int) -> None:
        """Send a signal to each that runs."""
        for process in self._processes:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(number)

    async def _wait(self) -> None:
        if living := [watching for watching in self._watching if not watching.done()]:
            await asyncio.wait(living, timeout=_PATIENCE)


async def _watch(
    process: asyncio.subprocess.Process, argv: Sequence[str], on_end: Callable[[Sequence[str], int], None]
) -> None:
    on_end(argv, await process.wait())


async def _ask_one(scheduler: Scheduler) -> bool:
    """Ask one launcher to stop; it tells the others. False if none answers."""
    for worker in list(scheduler.workers.values()):
        with suppress(Exception):
            async with asyncio.timeout(_ANSWER):
                await scheduler.rpc(worker.nanny).corral_stop()
            return True
    return False
