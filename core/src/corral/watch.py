"""When to ask a batch system, and how seldom: what administrators accept.

Three parts: the rhythm of one cluster's questions (`Rhythm`), one answer for all clusters of a process (`Watch`), and
a limit on the commands of one user on one host over all processes (`CommandBudget`).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import platformdirs

from corral.domain import JobId, JobStatus
from corral.home import Home

logger = logging.getLogger("corral.watch")

#: Seconds after a change at which jobs are polled, and the pace when nothing changes.
AFTER_CHANGE = (2.0, 5.0, 10.0, 20.0)
AT_REST = 60.0


class Rhythm:
    """The moments at which one cluster wants to know: soon and often after a change, slowly when things rest.

    Moments are seconds on the clock of whoever calls.
    """

    def __init__(self, *, after_change: Sequence[float] = AFTER_CHANGE, at_rest: float = AT_REST) -> None:
        self.after_change = after_change
        self.at_rest = at_rest
        self._changed_at = 0.0
        self._polled_at: float | None = None
        self._urgent_at: float | None = None

    def changed(self, now: float) -> None:
        """Something happened: begin again with short intervals."""
        self._changed_at = now

    def urgent(self, at: float) -> None:
        """A question that cannot wait, at that moment."""
        self._urgent_at = at if self._urgent_at is None else min(at, self._urgent_at)

    def polled(self, now: float) -> None:
        self._polled_at = now
        if self._urgent_at is not None and self._urgent_at <= now:
            self._urgent_at = None

    def due(self) -> float:
        """When to ask next."""
        steps = [self._changed_at + seconds for seconds in self.after_change]
        last = self._changed_at if self._polled_at is None else self._polled_at
        due = next((step for step in steps if step > last), max(last, steps[-1]) + self.at_rest)
        return due if self._urgent_at is None else min(due, self._urgent_at)

    def patience(self) -> float:
        """How old an answer to somebody else's question may be, to serve instead of asking again (s)."""
        if self._urgent_at is not None:
            return 0.0
        last = self._changed_at if self._polled_at is None else self._polled_at
        return max(0.0, (self.due() - last) / 2)


class Watch:
    """One command a round for the jobs of all clusters of this process that talk to the same batch system."""

    _shared: ClassVar[weakref.WeakValueDictionary[Hashable, Watch]] = weakref.WeakValueDictionary()
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def shared(cls, key: Hashable) -> Watch:
        """The watch of this process for one batch system; clusters run in different threads."""
        with cls._guard:
            watch = cls._shared.get(key)
            if watch is None:
                watch = cls._shared[key] = cls()
            return watch

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: weakref.WeakKeyDictionary[object, frozenset[JobId]] = weakref.WeakKeyDictionary()
        self._asked: frozenset[JobId] = frozenset()
        self._answer: Mapping[JobId, JobStatus] = {}
        self._answered_at = float("-inf")

    async def poll(
        self,
        owner: object,
        job_ids: Iterable[JobId],
        ask: Callable[[list[JobId]], Awaitable[Mapping[JobId, JobStatus]]],
        *,
        patience: float,
        since: float,
    ) -> Mapping[JobId, JobStatus]:
        """The status of these jobs: from a recent answer that covers them, or by asking for everybody's jobs.

        Parameters
        ----------
        owner
            Who asks; its jobs are included when others ask, as long as it lives.
        patience
            How old the answer may be (s).
        since
            No older than this moment of `time.monotonic`: what the owner did then must show in it.
        """
        mine = frozenset(job_ids)
        with self._lock:
            self._wanted[owner] = mine
            fresh = self._answered_at >= max(since, time.monotonic() - patience)
            if fresh and mine <= self._asked:
                return {job_id: self._answer[job_id] for job_id in mine if job_id in self._answer}
            everybody = frozenset().union(*self._wanted.values())
        asked_at = time.monotonic()
        # By its text: comparing ten thousand ids as values would hold the event loop up.
        answer = await ask(sorted(everybody, key=str))
        with self._lock:
            self._asked, self._answer, self._answered_at = everybody, answer, asked_at
        return {job_id: answer[job_id] for job_id in mine if job_id in answer}

    def forget(self, owner: object) -> None:
        """This owner asks no more."""
        with self._lock:
            self._wanted.pop(owner, None)


class CommandBudget:
    """How many commands one user may run in a minute on one host, over all processes: a ledger under a lock.

    Questions wait until there is room. What a user asked for (a submission, a cancellation) is written down and
    never waits, so that questions make room for it.
    """

    def __init__(self, per_minute: int, path: Path | None = None) -> None:
        self.per_minute = per_minute
        self.path = path or platformdirs.user_state_path("corral") / f"commands-{socket.gethostname()}.json"

    async def wait(self) -> None:
        """Write down a question as soon as there is room for it, and return."""
        while delay := await asyncio.to_thread(self._enter, may_wait=True):
            logger.debug("at most %d commands a minute: waiting %.1f s", self.per_minute, delay)
            await asyncio.sleep(delay)

    async def note(self) -> None:
        """Write down a command that does not wait."""
        await asyncio.to_thread(self._enter, may_wait=False)

    def _enter(self, *, may_wait: bool) -> float:
        """0 if the command was written down, else the seconds after which there may be room."""
        try:
            if self.path.is_relative_to(Home.of().path):
                Home.of().make()
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            # Without a place to write, each cluster still keeps its own rhythm.
            logger.debug("no command ledger: %s", error)
            return 0.0
        with os.fdopen(descriptor, "r+") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            now = time.time()
            try:
                moments = [moment for moment in json.loads(ledger.read() or "[]") if now - 60.0 < moment <= now]
            except (ValueError, TypeError):
                moments = []
            if may_wait and len(moments) >= self.per_minute:
                oldest: float = sorted(moments)[-self.per_minute]
                return max(0.05, oldest + 60.0 - now)
            ledger.seek(0)
            ledger.truncate()
            json.dump([*moments, now][-10 * self.per_minute :], ledger)
            return 0.0
