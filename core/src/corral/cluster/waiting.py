"""Waiting: for submissions and for workers, until they have come or cannot come any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from attrs import define

from corral.cluster.engine_state import EngineState
from corral.errors import BudgetSpent, InvalidRequest, JobsFailed, PluginError, SubmitRejected, WorkersNotReady, counted
from corral.host import clock


@define(kw_only=True, eq=False)
class Waiting:
    """Whoever waits for the engine, and what they are told. It has no state of its own."""

    _state: EngineState
    #: What keeps the cluster from knowing how its jobs are.
    _unknown: Callable[[], list[str]]

    async def for_submissions(self) -> None:
        """Return when no submission is under way or due.

        Raises
        ------
        SubmitRejected
        """
        while True:
            news = self._state.news
            self.raise_undelivered()
            if not any(
                group.submitting or group.is_short(self._state.roster.jobs) for group in self._state.groups.values()
            ):
                return
            await news.wait()

    async def for_workers(
        self, count: int, timeout: float | None = None, *, reach: Callable[[], float | None] = lambda: None
    ) -> None:
        """Return when `count` workers are ready.

        Parameters
        ----------
        reach
            As many may be wanted when there is work for them; None: as many as there are wanted now.

        Raises
        ------
        SubmitRejected, JobsFailed
            They can no longer come.
        WorkersNotReady
            They did not come in time.
        """
        try:
            async with clock.timeout(timeout):
                while self._ready() < count:
                    news = self._state.news
                    self._raise_if_hopeless(count, reach())
                    await self._hear(news)
        except TimeoutError:
            raise WorkersNotReady(self._ready(), count, timeout or 0.0, self.whereabouts()) from None
        self._state.undelivered.clear()

    def raise_undelivered(self) -> None:
        """Raise a rejection that nobody has heard of yet."""
        if self._state.undelivered:
            raise self._state.undelivered.pop(0)

    def whereabouts(self) -> str:
        """``2 jobs connected, 1 job pending (Resources)``, why that waits, and what troubles the groups."""
        words: dict[str, int] = {}
        for record in self._state.roster.living():
            word = record.condition
            if not record.workers and not record.is_leaving and record.reason not in ("", "None"):
                word += f" ({record.reason})"
            words[word] = words.get(word, 0) + 1
        parts = [f"{counted(count, 'job')} {word}" for word, count in sorted(words.items())]
        parts += [f"{group.submitting} being submitted" for group in self._state.groups.values() if group.submitting]
        known, now = self._state.roster.jobs, self._state.now()
        waits = [told for group in self._state.groups.values() if (told := group.waiting_words(known, now))]
        troubles = [group.trouble_in_words() for group in self._state.groups.values() if group.trouble]
        troubles += self._unknown()
        return "; ".join([", ".join(parts) or "no job is in the queue", *waits, *troubles])

    async def _hear(self, news: asyncio.Event) -> None:
        """Return when something changed. Nobody tells that a registered worker has become ready: look again soon."""
        is_starting = any(worker.status.name == "init" for worker in self._state.scheduler.workers.values())
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05 if is_starting else None):
                await news.wait()

    def _ready(self) -> int:
        return sum(1 for worker in self._state.scheduler.workers.values() if worker.status.name == "running")

    def _raise_if_hopeless(self, count: int, reach: float | None) -> None:
        # Workers that somebody started by hand count as well.
        possible = max(0, self._ready() - sum(len(record.workers) for record in self._state.roster.jobs))
        for name, group in self._state.groups.items():
            mine = [record for record in self._state.roster.jobs if record.group == name]
            capacity = [record for record in mine if record.is_capacity]
            hopeless = sum(record.expected_workers for record in capacity if group.is_hopeless(record))
            coming = sum(record.expected_workers for record in capacity)
            if not group.state.is_stopped and not isinstance(group.trouble, BudgetSpent):
                coming += max(0, group.state.wanted - len(capacity)) * group.workers_per_job
            possible += coming - hopeless + sum(len(record.workers) for record in mine if not record.is_capacity)
        if possible >= count or any(group.is_examining for group in self._state.groups.values()):
            return
        for group in self._state.groups.values():
            group.tell_hopeless(self._state.roster.jobs)
            if isinstance(group.trouble, SubmitRejected | JobsFailed | InvalidRequest | BudgetSpent | PluginError):
                with suppress(ValueError):
                    self._state.undelivered.remove(group.trouble)
                raise group.trouble
        if reach is not None:
            if count <= reach:
                return  # they come with their work
            raise InvalidRequest(
                "n_workers",
                f"{count} workers cannot come: adapt() keeps to {reach:g} at most; call adapt(maximum={count}) first",
            )
        if lost := [f"{host} of job {record.id}" for record in self._state.roster.jobs for host in record.lost_hosts]:
            raise JobsFailed(f"{possible} workers can still come, not {count}; lost nodes: {', '.join(lost)}", ())
        raise InvalidRequest(
            "n_workers", f"{count} workers cannot come: the cluster is scaled to {possible}; call scale({count}) first"
        )
