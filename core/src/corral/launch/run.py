"""The launcher's event loop: it has a crew of workers until there is a reason for all of them to leave."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
import zlib
from collections.abc import Coroutine
from typing import Any

from attrs import asdict

from corral._version import __version__
from corral.launch.crew import RETIRED, Crew, Setting
from corral.launch.ending import Ended, Exit, code_after, say
from corral.launch.nanny import Death, within
from corral.launch.quiet import be_brief
from corral.launch.scratch import remove_leftovers
from corral.launch.zygote import WARNINGS, Zygote

#: The topic under which launchers report to the cluster.
TOPIC = "corral"

#: A signal that comes again within so many seconds is the same one: batch systems signal the script, which passes it
#: on, and all of the job's processes as well.
_SAME_SIGNAL = 2.0
_GOLDEN = 0.6180339887498949
#: A job of days need not leave hours before its end (s).
_WIDEST_SPREAD = 900.0
#: Seconds in which the scheduler is told of an end at once.
_ABORT = 1.0
#: Seconds for a message to the scheduler or to another node.
_MESSAGE = 5.0


async def run(setting: Setting, zygote: Zygote | None) -> Ended:
    """Have workers until there is a reason to leave, and let them leave."""
    be_brief()
    if zygote is not None:
        zygote.listen()
    launcher = _Launcher(setting, zygote)
    try:
        return await launcher.run()
    finally:
        await launcher.close()
        if zygote is not None:
            await zygote.close()


def leaving_time(job: str, ends: float, lead: float, spread: float) -> float:
    """When to begin nothing more before the end of a job.

    Between `lead` and ``lead + spread`` seconds before it: the jobs of an array begin together and would all leave
    together, with nobody there to take over. Neighbours in the array are far from each other.
    """
    # Multiples of the golden ratio fill an interval evenly, however many there are.
    match = re.search(r"(\d+)\D*$", job)
    array, element = (job[: match.start()], int(match[1])) if match else (job, 0)
    stagger = (zlib.crc32(array.encode()) / 2**32 + element * _GOLDEN) % 1.0
    return ends - lead - stagger * spread


def default_spread(lead: float, seconds: float) -> float:
    """Seconds over which the jobs of an array, which lasts so many seconds, begin to leave."""
    return max(lead / 2, min(seconds / 10, _WIDEST_SPREAD))


def default_lead(seconds: float) -> float:
    """Seconds before the end at which a job leaves that lasts so many seconds."""
    return min(120.0, max(10.0, seconds / 10), seconds / 2)


class _Launcher:
    def __init__(self, setting: Setting, zygote: Zygote | None) -> None:
        self._setting = setting
        self._options = setting.options
        self._allocation = setting.place.allocation
        self._job = str(setting.place.job_id)
        self._began = setting.began
        self._has_zygote = zygote is not None
        self._crew = Crew(
            setting, zygote, {"corral_retire": self.retire, "corral_stop": self.stop}, self._on_worker_death
        )
        self._is_leaving = False
        #: Results that nobody takes are no longer kept.
        self._give_up = asyncio.Event()
        #: Workers that are still draining must go.
        self._out_of_time = asyncio.Event()
        self._signals: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Those of them that should be delivered before the end.
        self._messages: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    async def run(self) -> Ended:
        loop = asyncio.get_running_loop()
        for number in WARNINGS:
            loop.add_signal_handler(number, self._signalled, number)
        if (ends := self._allocation.ends) is not None:
            loop.call_later(self._leaves_in(ends), self._walltime, ends)
        self._start(self._work())
        self._start(self._report_start())
        return await self._end

    def _leaves_in(self, ends: float) -> float:
        """Seconds until it is time to leave, so that everything is done when the walltime ends."""
        seconds = self._options.walltime or ends - self._began
        lead = default_lead(seconds) if self._options.lead is None else self._options.lead
        # Who asks for a time gets it.
        spread = default_spread(lead, seconds) if self._options.lead is None else 0.0
        return max(0.0, leaving_time(self._job, ends, lead, spread) - time.time())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # In their own way, for what they have buffered and registered with atexit; who is busy for longer is killed.
        await self._crew.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._stopped)
        return task

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._end.done():
            self._end.set_exception(error)

    def _finish(self, code: int, message: str) -> None:
        if not self._end.done():
            self._end.set_result(Ended(code, message))

    async def _work(self) -> None:
        try:
            last_words = await self._crew.work()
        except Ended as ended:
            if not self._is_leaving:
                if ended.code == Exit.FAILED:
                    await self._report("failed", reason=str(ended))
                self._finish(ended.code, str(ended))
        else:
            if not self._is_leaving:
                if last_words == RETIRED:
                    await self._report("leaving", reason="retire", unfinished=0, lost=0)
                self._finish(Exit.DONE, last_words)

    async def _report_start(self) -> None:
        await self._crew.has_started.wait()
        workers, problems = len(self._crew.nannies), self._crew.problems
        if workers:
            for index, problem in sorted(problems.items()):
                name = self._setting.place.worker_name(index, self._options.workers)
                await self._report("worker died", **asdict(Death(worker=name, words=f"it could not start: {problem}")))
            for problem in sorted(set(problems.values())):
                say(f"job {self._job}: {len(problems)} of {self._options.workers} workers could not start: {problem}")
            say(f"job {self._job} on {self._setting.place.host}: {workers} worker{'s' * (workers > 1)} connected")
            seconds = {**self._setting.seconds, "workers": time.time() - self._began}
            ends = self._allocation.ends
            leaves_in = None if ends is None else self._leaves_in(ends)
            left_out = dict(self._setting.left_out)
            await self._report("ready", ends=ends, leaves_in=leaves_in, seconds=seconds, left_out=left_out)
        await asyncio.to_thread(remove_leftovers, self._options.local_directory)

    def _on_worker_death(self, death: Death) -> None:
        """A worker has died, and is started again."""
        say(f"job {self._job}: worker {death.worker} died: {death}")
        self._deliver(self._report("worker died", **asdict(death)))

    # --- reasons to leave ---------------------------------------------------------------------------------------

    def retire(self, reason: str, patience: float | None = None, pass_on: bool = True) -> str:
        """Remote call: drain all workers of the job, then end.

        Parameters
        ----------
        patience
            Seconds for which results that no other worker can take are kept; None: until the job ends.
        pass_on
            Tell the job's other nodes.
        """
        if pass_on:
            self._tell_other_nodes("corral_retire", reason=reason, patience=patience)
        if patience is not None:
            asyncio.get_running_loop().call_later(patience, self._give_up.set)
        self._leave("retire", reason, self._seconds_left())
        return "OK"

    def stop(self, pass_on: bool = True) -> str:
        """Remote call: end now, without draining."""
        if pass_on:
            self._tell_other_nodes("corral_stop")
        self._is_leaving = True
        self._start(self._stop())
        return "OK"

    def _walltime(self, ends: float) -> None:
        self._leave("walltime", f"it ends in {ends - time.time():.0f} s", self._seconds_left())

    def _signalled(self, number: int) -> None:
        name = signal.Signals(number).name
        now = time.monotonic()
        if now - self._signals.setdefault(number, now) > _SAME_SIGNAL:
            self._is_leaving = True
            self._start(self._abort(128 + number, f"{name} again: ended at once"))
        else:
            # Whoever signals will soon kill.
            self._leave("signal", name, self._options.grace)

    def _seconds_left(self) -> float | None:
        """Seconds until the last worker must be gone."""
        return None if (until := self._setting.until) is None else max(0.0, until - time.time())

    def _leave(self, reason: str, why: str, seconds: float | None) -> None:
        # Several reasons may come together: the shortest time counts.
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._out_of_time.set)
        if not self._is_leaving:
            self._is_leaving = True
            say(f"job {self._job} leaves ({reason}: {why})")
            self._start(self._drain(reason))

    async def _drain(self, reason: str) -> None:
        # A replacement can be asked for while this goes on.
        self._deliver(self._report("leaving", reason=reason, unfinished=0, lost=0))
        remains = await self._crew.drain(give_up=self._give_up, out_of_time=self._out_of_time)
        self._deliver(self._report("left", reason=reason, **asdict(remains)))
        await asyncio.wait(self._messages)
        again = f"; to be run again: {remains.unfinished} unfinished tasks, {remains.lost} results that no worker took"
        code = code_after(self._signals, os.environ)
        self._finish(code, "drained" + again * (remains.unfinished + remains.lost > 0))

    async def _stop(self) -> None:
        await self._crew.forget()
        if self._messages:
            await asyncio.wait(self._messages)
        self._finish(Exit.DONE, "stopped")

    async def _abort(self, code: int, message: str) -> None:
        await within(_ABORT, self._crew.forget())
        self._finish(code, message)

    # --- messages -----------------------------------------------------------------------------------------------

    def _deliver(self, message: Coroutine[Any, Any, None]) -> None:
        self._messages.add(self._start(message))

    async def _report(self, event: str, **more: Any) -> None:
        message = {
            "event": event,
            "job": self._job,
            "name": self._options.job_name,
            "group": self._options.group,
            "attempt": self._allocation.attempt,
            "version": __version__,
            "node": self._setting.place.node_index,
            "hosts": [self._setting.place.host],
            **more,
        }
        async with self._crew.scheduler() as scheduler:
            await within(_MESSAGE, scheduler.log_event(topic=TOPIC, msg=message))

    def _tell_other_nodes(self, operation: str, **arguments: Any) -> None:
        """Pass a call on to the job's launchers on other nodes: the cluster calls just one of them."""
        if len(self._allocation.hosts) > 1:
            self._deliver(self._pass_on(operation, arguments))

    async def _pass_on(self, operation: str, arguments: dict[str, Any]) -> None:
        async with self._crew.scheduler() as scheduler:
            identity = await within(_MESSAGE, scheduler.identity(n_workers=-1)) or {"workers": {}}
        ours = {nanny.address for nanny in self._crew.nannies.values()}
        name = re.compile(rf"{re.escape(self._job)}(\.r\d+)?-\d+")
        others = {each["nanny"] for each in identity["workers"].values() if name.fullmatch(str(each["name"]))}

        async def tell(address: str) -> None:
            async with self._crew.connection(address) as nanny:
                await within(_MESSAGE, getattr(nanny, operation)(pass_on=False, **arguments))

        await asyncio.gather(*(tell(address) for address in others - ours))
