"""A cluster that serves handles in other processes: the engine's side of a scheduler in a job.

Handles speak to it through handlers of the Dask scheduler, over the cluster's own TLS: whoever may use the scheduler
may also scale the cluster. What travels is plain data (`corral.remote.messages`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from corral.cluster.basis import Basis
from corral.cluster.cluster import Cluster
from corral.cluster.registry import Entry
from corral.cluster.shown import ShownGroup
from corral.errors import CorralError, SubmitRejected
from corral.jobs.explanation import Explanation
from corral.launch.run import default_lead
from corral.remote.messages import AdaptiveState, GroupSnapshot, Identity, State, error_to_plain, to_plain
from corral.remote.spec import Order, refuse_own_system
from corral.request.awaited import Awaited
from corral.request.drawing import draw
from corral.request.scale import known_group
from corral.request.worker_group import WorkerGroup
from corral.security.tunnel import Tunnel
from corral.text.logs import logger_of

logger = logger_of()

#: A handle that asks for news has an answer by then: what the cluster costs is news, too (s).
NEWS_INTERVAL = 5.0
#: How long workers may take to finish after a signal: whoever signals will soon kill (s).
SIGNAL_GRACE = 20.0
#: So much of the time before the end is for closing (s).
CLOSING_MARGIN = 5.0

_NO_JOBS_FROM_JOBS = (
    "If jobs may not submit jobs here, run the scheduler on a node that may, with: corral serve --backend {backend} …"
)


class Served(Cluster):
    """The cluster of one order, in the process that was started for it."""

    def __init__(self, order: Order, *, job_id: str = "", ends: float | None = None) -> None:
        """`job_id` and `ends` (seconds since the epoch) are the scheduler's job's, if it has one."""
        self._order = order
        self._job_id = job_id
        self._ends = ends
        self._is_open = asyncio.Event()
        self._ending = ""
        #: Why it should end, and how long its workers may take to finish.
        self._wish: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()
        self._idle_watch: asyncio.Task[None] | None = None
        self._tunnel: Tunnel | None = None
        self._scripts: dict[str, str] = {}
        blueprint = order.identify(draw(order.arguments, site_values=order.site_values))
        entry = Entry.of(
            blueprint,
            scheduler="job" if job_id else "node",
            scheduler_name=order.job_name,
            scheduler_job=job_id,
            scheduler_log=self._own_log,
        )
        known = order.credentials
        basis = Basis(blueprint=blueprint, credentials=known, security=known.security(), entry=entry)
        # What it has at once is wanted after everybody may hear of it, and awaited by a handle.
        self._stand_on(basis, at_once={}, silence_logs=None, asynchronous=True)

    @property
    def _own_log(self) -> str | None:
        return None if self._order.log is None else self._order.log.replace("{id}", self._job_id)

    # --- life ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._refuse_a_place_that_cannot_submit()
        await super()._start()
        if self._order.jobs:
            self._want(self._order.jobs)
        self._is_open.set()
        loop = asyncio.get_running_loop()
        if self._blueprint.idle_timeout:
            self._idle_watch = loop.create_task(self._watch_idle(self._blueprint.idle_timeout))
        if self._ends is not None:
            lead = default_lead(self._order.walltime or self._ends - time.time())
            loop.call_later(max(0.0, self._ends - lead - time.time()), self._walltime, lead)

    async def _refuse_a_place_that_cannot_submit(self) -> None:
        blueprint = self._blueprint
        if await blueprint.batch.detect() is None:
            where = f"job {self._job_id} on {socket.gethostname()}" if self._job_id else socket.gethostname()
            raise CorralError(
                f"{blueprint.backend} does not answer from {where}: no job can be submitted from there. "
                + _NO_JOBS_FROM_JOBS.format(backend=blueprint.backend)
            )

    def _make_folders(self) -> None:
        assert self.scheduler is not None
        # Before anybody knows the address.
        self.scheduler.handlers.update(self._handlers())
        # A job that was requeued begins again, at another address.
        self._blueprint.home.remove_credentials(self._blueprint.uuid)
        super()._make_folders()

    async def until_end(self) -> str:
        """Return, with the reason, when the cluster should end; its workers have finished by then."""
        why, seconds = await self._wish
        self._ending = why
        logger.warning("cluster %s ends: %s", self.name, why, cluster=self.name)
        if seconds > 0:
            await self._drain(why, seconds)
        return why

    def end(self, why: str, seconds: float = 0.0) -> None:
        """Let the cluster end; its workers may take some seconds to finish."""
        if not self._wish.done():
            self._wish.set_result((why, seconds))

    def signalled(self, name: str) -> None:
        self.end(f"its scheduler got {name}", SIGNAL_GRACE)

    def _walltime(self, lead: float) -> None:
        self.end(f"the walltime of its scheduler's job ends in {lead:.0f} s", max(0.0, lead - CLOSING_MARGIN))

    async def _drain(self, why: str, seconds: float) -> None:
        """Let the workers finish what they do. Whoever is connected is told."""
        assert self.scheduler is not None
        assert self._engine is not None
        self.scheduler.log_event(
            "warn",
            f"cluster {self.name} ends: {why}. Running tasks have {seconds:.0f} s; results that you have not gathered "
            "are lost.",
        )
        if self._adaptive is not None:
            self._adaptive.stop("the cluster ends")
        self._engine.scale_all(dict.fromkeys(self.groups, 0))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                seen = self._changes.count
                while not all(job.has_ended for job in self._engine.jobs):
                    seen = await self._changes.after(seen)

    async def _watch_idle(self, timeout: float) -> None:
        used_at = time.monotonic()
        while True:
            if self._is_used():
                used_at = time.monotonic()
            elif time.monotonic() - used_at >= timeout:
                self.end(f"for {timeout:.0f} s nobody was connected, and there was no task and no result")
            await asyncio.sleep(min(5.0, timeout / 4))

    def _is_used(self) -> bool:
        """True if somebody is connected, or something would be lost."""
        scheduler = self.scheduler
        assert scheduler is not None
        return bool(scheduler.client_comms or scheduler.tasks or scheduler.extensions["publish"].datasets)

    async def _close_down(self) -> None:
        if self._idle_watch is not None:
            self._idle_watch.cancel()
        if self._tunnel is not None:
            await self._tunnel.close()
            self._tunnel = None
        await super()._close_down()

    def _remove_traces(self) -> None:
        blueprint = self._blueprint
        # Of a cluster that could not start, it says why.
        if self._ending and blueprint.chosen_log_directory is None and self._own_log is not None:
            with suppress(OSError):
                blueprint.home.remove_logs(blueprint.uuid, [self._own_log])
        super()._remove_traces()

    def _remove_files(self) -> None:
        # Some batch systems bring a log when its job has ended, if there is a folder for it.
        is_awaited = self._own_log is not None and not os.path.lexists(self._own_log)
        self._blueprint.home.remove_cluster(self._blueprint.uuid, keeps_logs=is_awaited)

    # --- what handles ask ---------------------------------------------------------------------------------------

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        answers: tuple[Callable[..., Awaitable[Any]], ...] = (
            self.state, self.scale_jobs, self.begin_to_adapt, self.stop_adapting, self.have_group, self.lose_group,
            self.have_hours, self.give_up_job, self.see_submitted, self.see_workers, self.see_why, self.be_shut_down,
        )  # fmt: skip
        return {f"corral_{answer.__name__}": self._answering(answer) for answer in answers}

    def _answering(self, answer: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def call(**arguments: Any) -> dict[str, Any]:
            await self._is_open.wait()
            try:
                return {"answer": to_plain(await answer(**arguments))}
            except CorralError as error:
                return {"error": error_to_plain(self._explained(error))}

        return call

    def _explained(self, error: CorralError) -> CorralError:
        if isinstance(error, SubmitRejected) and self._job_id:
            hint = _NO_JOBS_FROM_JOBS.format(backend=self._blueprint.backend)
            return SubmitRejected(f"{error} (submitted from job {self._job_id} on {socket.gethostname()}. {hint})")
        return error

    async def state(self, seen: int = 0) -> State:
        """What there is, as soon as it differs from the version that was seen."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NEWS_INTERVAL):
                await self._changes.after(seen)
        return await self._state()

    async def scale_jobs(self, jobs: Mapping[str, int]) -> State:
        for name in jobs:
            known_group(name, self.groups)
        self._want(jobs)
        return await self._state()

    async def begin_to_adapt(self, arguments: Mapping[str, Any]) -> State:
        self.adapt(**arguments)
        return await self._state()

    async def stop_adapting(self, reason: str) -> State:
        if self._adaptive is not None:
            self._adaptive.stop(reason)
        return await self._state()

    async def have_group(self, name: str, arguments: Mapping[str, Any]) -> State:
        group = WorkerGroup(**arguments)
        if self._job_id:
            refuse_own_system(self._blueprint, name, group)
        await asyncio.to_thread(self._running_engine.blueprint.ask_ahead, group)
        self.add_group(name, group)
        return await self._state()

    async def lose_group(self, name: str) -> State:
        self.remove_group(name)
        self._scripts.pop(name, None)
        return await self._state()

    async def have_hours(self, argument: str, hours: float | None) -> State:
        self._allow(argument, hours)
        return await self._state()

    async def give_up_job(self, job: str) -> State:
        self._give_up(job)
        return await self._state()

    async def see_submitted(self) -> State:
        assert self._engine is not None
        await self._engine.submitted()
        return await self._state()

    async def see_workers(self, n_workers: int | None, timeout: float | None, fraction: float) -> State:
        await self._await_workers(Awaited(n_workers=n_workers, fraction=fraction, timeout=timeout))
        return await self._state()

    async def see_why(self, job: str | None) -> tuple[Explanation, ...]:
        return tuple(await self._explain(job))

    async def be_shut_down(self) -> None:
        self.end("a handle shut it down")
        self._raise_undelivered()

    # --- news ---------------------------------------------------------------------------------------------------

    async def _state(self) -> State:
        assert self.scheduler is not None
        shown, adaptive = self._shown, self._adaptive
        return State(
            moment=time.time(),
            version=self._changes.count,
            backend=shown.backend,
            groups={name: self._group_state(name, group) for name, group in shown.groups.items()},
            jobs=shown.jobs,
            failures=shown.failures,
            account=shown.account,
            maximum_core_hours=shown.maximum_core_hours,
            maximum_gpu_hours=shown.maximum_gpu_hours,
            whereabouts=shown.whereabouts,
            load=shown.load,
            totals=shown.totals,
            commands=shown.commands,
            began=self._began,
            epoch=shown.epoch,
            adaptive=None if adaptive is None else AdaptiveState.of(adaptive),
            identity=Identity(self.scheduler.identity()),
            dashboard_port=await self._tunnel_port(),
            ending=self._ending,
        )

    def _group_state(self, name: str, group: ShownGroup) -> GroupSnapshot:
        if name not in self._scripts:
            self._scripts[name] = group.script
        return GroupSnapshot.of(group, self._scripts[name])

    async def _tunnel_port(self) -> int | None:
        """The port through which those who have the cluster's key reach the dashboard; it listens on loopback."""
        found = self._dashboard
        if found is not None and self._tunnel is None:
            context = self.security.get_listen_args("scheduler").get("ssl_context")
            to = (found.host, found.port)
            self._tunnel = await Tunnel.open(to, host=self._blueprint.scheduler_host, accepts=context)
        return None if self._tunnel is None else self._tunnel.port
