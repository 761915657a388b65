"""The queue itself: every job, in SQLite. Each method is one transaction; any number of processes may use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from corral.host.machine import Capacity, measure
from corral.local.database import has_work, open_database
from corral.local.request import QUEUE, Refused, Request

#: Seconds for which an ended job is still listed.
KEPT = 3600.0


class Key(NamedTuple):
    """A job's place in the queue: first in, first out."""

    array: int
    element: int

    def __str__(self) -> str:
        return f"{self.array}_{self.element}"


class Task(NamedTuple):
    """What a supervisor must know of its job."""

    key: Key
    attempt: int
    name: str
    script: str
    cores: int
    memory: int
    devices: tuple[str, ...]
    #: True if the queue has GPUs at all: then a job sees those it was given and no other.
    has_devices: bool
    walltime: int | None
    output: str | None
    grace: float
    folder: str
    environment: dict[str, str]


class Outcome(NamedTuple):
    """How an attempt ended."""

    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    ended: float = 0.0


class Queue:
    """The queue of one directory; made when it is not there yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.connection = open_database(directory)

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, with the only right to write from its beginning on."""
        with self._between("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read several things of one moment."""
        with self._between("BEGIN"):
            yield

    @contextmanager
    def _between(self, begin: str) -> Iterator[None]:
        self.connection.execute(begin)
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    # --- what commands do ---------------------------------------------------------------------------------------

    def submit(
        self,
        request: Request,
        script: str,
        *,
        count: int,
        grace: float,
        folder: str,
        environment: Mapping[str, str],
        capacity: tuple[int | None, int | None, int | None] = (None, None, None),
    ) -> int:
        """Put `count` jobs in line, all or none, and return their array's id.

        A capacity that is named, (cores, memory, GPUs), is the queue's from now on; what is not named stays as it
        was named last, and what was never named is what the machine has.

        Raises
        ------
        Refused
            The request is none that this queue can ever serve.
        """
        if count < 1:
            raise Refused("a submission is for at least one job")
        now = time.time()
        with self.transaction():
            self.connection.execute(
                "UPDATE capacity "
                "SET cores = coalesce(?, cores), memory = coalesce(?, memory), gpus = coalesce(?, gpus)",
                capacity,
            )
            _refuse_if_impossible(request, self.capacity())
            self._purge(now)
            array = self.connection.execute(
                "INSERT INTO arrays VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    request.name,
                    script,
                    request.cores,
                    request.memory or 0,
                    request.gpus,
                    request.walltime,
                    request.output,
                    grace,
                    folder,
                    json.dumps(dict(environment)),
                    now,
                ),
            ).lastrowid
            assert array is not None
            state = "HELD" if request.hold else "PENDING"
            self.connection.executemany(
                "INSERT INTO jobs (array, element, state) VALUES (?, ?, ?)",
                ((array, element, state) for element in range(count)),
            )
        return array

    def cancel(self, keys: Sequence[Key]) -> None:
        """End jobs that wait, at once; leave a wish for the dispatcher to end those that run."""
        with self.transaction():
            self.connection.executemany(
                "UPDATE jobs SET state = 'CANCELLED', ended = ? "
                "WHERE array = ? AND element = ? AND state IN ('PENDING', 'HELD')",
                [(time.time(), *key) for key in keys],
            )
            self._wish("cancel", keys)

    def requeue(self, keys: Sequence[Key]) -> None:
        """End jobs that run, to start them again under the same id: one more attempt each."""
        with self.transaction():
            self._wish("requeue", keys)

    def hold(self, keys: Sequence[Key]) -> None:
        """Let jobs that wait not start."""
        self._swap("PENDING", "HELD", keys)

    def release(self, keys: Sequence[Key]) -> None:
        """Put jobs that are held back in line, where they were."""
        self._swap("HELD", "PENDING", keys)

    def expand(self, ids: Iterable[str]) -> list[Key]:
        """The jobs that ids mean: ``12_3`` one element, ``12`` the whole array. Unknown ones are left out."""
        keys = []
        for text in ids:
            numbers = text.split("_")
            if len(numbers) <= 2 and all(number.isdecimal() for number in numbers):
                where = " AND ".join(["array = ?", "element = ?"][: len(numbers)])
                rows = self.connection.execute(f"SELECT array, element FROM jobs WHERE {where}", numbers)  # noqa: S608
                keys += [Key(*row) for row in rows]
        return keys

    def keys(self) -> list[Key]:
        """Every job that is still listed."""
        return [Key(*row) for row in self.connection.execute("SELECT array, element FROM jobs")]

    def find(self, name: str) -> dict[Key, str]:
        """The names of the jobs with this name that have not ended; a star at its end stands for any end."""
        # Not by `corral.plugin.parsing`: commands of the queue start with the standard library alone.
        beginning = name.removesuffix("*")
        rows = self.connection.execute(
            "SELECT array, element, name FROM jobs JOIN arrays ON arrays.id = array WHERE ended IS NULL"
        )
        return {
            Key(array, element): found
            for array, element, found in rows
            if found == name or (beginning != name and found.startswith(beginning))
        }

    def before(self, key: Key) -> int:
        """How many jobs are in line before this one."""
        (count,) = self.connection.execute(
            "SELECT count(*) FROM jobs WHERE state = 'PENDING' AND (array, element) < (?, ?)", key
        ).fetchone()
        return int(count)

    def capacity(self) -> Capacity:
        """What the jobs that run may use together."""
        cores, memory, gpus = self.connection.execute("SELECT cores, memory, gpus FROM capacity").fetchone()
        has = measure() if None in (cores, memory, gpus) else Capacity(0, 0)
        return Capacity(
            has.cores if cores is None else cores,
            has.memory if memory is None else memory,
            has.devices if gpus is None else tuple(map(str, range(gpus))),
        )

    def used(self) -> Capacity:
        """What the jobs that run now have been given."""
        cores, memory, devices = self.connection.execute(
            "SELECT coalesce(sum(cores), 0), coalesce(sum(memory), 0), group_concat(nullif(devices, '')) "
            "FROM jobs JOIN arrays ON arrays.id = array WHERE state = 'RUNNING'"
        ).fetchone()
        return Capacity(cores, memory, tuple(devices.split(",")) if devices else ())

    # --- what the dispatcher does -------------------------------------------------------------------------------

    def has_work(self) -> bool:
        """True if there is something for a dispatcher to do."""
        return has_work(self.connection)

    def start_jobs(self) -> list[Task]:
        """Mark as RUNNING the jobs whose turn it is, and return them: whoever asked must start them now."""
        if not self.connection.execute("SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'PENDING')").fetchone()[0]:
            return []
        with self.transaction():
            capacity, used = self.capacity(), self.used()
            free = [name for name in capacity.devices if name not in used.devices]
            cores, memory = capacity.cores - used.cores, capacity.memory - used.memory
            chosen: list[tuple[str, float, int, int]] = []
            for array, element, *need in self.connection.execute(
                "SELECT array, element, cores, memory, gpus FROM jobs JOIN arrays ON arrays.id = array "
                "WHERE state = 'PENDING' ORDER BY array, element"
            ):
                if not fits(need, (capacity.cores, capacity.memory, len(capacity.devices))):
                    continue  # the capacity was lowered after it was accepted: it must not block the others
                if not fits(need, (cores, memory, len(free))):
                    break
                cores, memory = cores - need[0], memory - need[1]
                given, free = free[: need[2]], free[need[2] :]
                chosen.append((",".join(given), time.time(), array, element))
            self.connection.executemany(
                "UPDATE jobs SET state = 'RUNNING', wish = NULL, devices = ?, started = ? "
                "WHERE array = ? AND element = ?",
                chosen,
            )
            return [self._task(Key(array, element), capacity) for *_, array, element in chosen]

    def running(self) -> list[Task]:
        """The jobs that some dispatcher has marked as RUNNING."""
        rows = self.connection.execute("SELECT array, element FROM jobs WHERE state = 'RUNNING'").fetchall()
        capacity = self.capacity()
        return [self._task(Key(*row), capacity) for row in rows]

    def wishes(self) -> list[Key]:
        """The running jobs that somebody wants to end."""
        rows = self.connection.execute("SELECT array, element FROM jobs WHERE state = 'RUNNING' AND wish IS NOT NULL")
        return [Key(*row) for row in rows]

    def settle(self, outcomes: Mapping[Key, Outcome]) -> None:
        """Write down how running jobs ended; a job that was asked to end for a requeue waits again."""
        with self.transaction():
            for key, outcome in outcomes.items():
                (wish,) = self.connection.execute(
                    "SELECT wish FROM jobs WHERE array = ? AND element = ?", key
                ).fetchone()
                if outcome.state == "CANCELLED" and wish == "requeue":
                    self.connection.execute(
                        "UPDATE jobs SET state = 'PENDING', wish = NULL, devices = '', started = NULL, "
                        "attempt = attempt + 1 WHERE array = ? AND element = ?",
                        key,
                    )
                else:
                    self.connection.execute(
                        "UPDATE jobs SET state = ?, reason = ?, exit_code = ?, signal = ?, ended = ? "
                        "WHERE array = ? AND element = ?",
                        (*outcome._replace(ended=outcome.ended or time.time()), *key),
                    )

    def purge(self) -> None:
        """Forget the jobs that ended long ago."""
        with self.transaction():
            self._purge(time.time())

    # --- inside a transaction -----------------------------------------------------------------------------------

    def _purge(self, now: float) -> None:
        if self.connection.execute("DELETE FROM jobs WHERE ended < ?", (now - KEPT,)).rowcount:
            self.connection.execute("DELETE FROM arrays WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE array = arrays.id)")

    def _wish(self, wish: str, keys: Sequence[Key]) -> None:
        self.connection.executemany(
            "UPDATE jobs SET wish = ? WHERE array = ? AND element = ? AND state = 'RUNNING'",
            [(wish, *key) for key in keys],
        )

    def _swap(self, before: str, after: str, keys: Sequence[Key]) -> None:
        with self.transaction():
            self.connection.executemany(
                "UPDATE jobs SET state = ? WHERE array = ? AND element = ? AND state = ?",
                [(after, *key, before) for key in keys],
            )

    def _task(self, key: Key, capacity: Capacity) -> Task:
        attempt, devices, name, script, cores, memory, walltime, output, grace, folder, environment = (
            self.connection.execute(
                "SELECT attempt, devices, name, script, cores, memory, walltime, output, grace, folder, environment "
                "FROM jobs JOIN arrays ON arrays.id = array WHERE array = ? AND element = ?",
                key,
            ).fetchone()
        )
        return Task(
            key,
            attempt,
            name,
            script,
            cores,
            memory,
            tuple(devices.split(",")) if devices else (),
            bool(capacity.devices),
            walltime,
            output,
            grace,
            folder,
            json.loads(environment),
        )


def _refuse_if_impossible(request: Request, capacity: Capacity) -> None:
    if request.unknown:
        raise Refused(f"unknown directive {request.unknown[0]!r}")
    if request.queue not in (None, QUEUE):
        raise Refused(f"queue {request.queue!r} does not exist; the only one is {QUEUE!r}")
    if request.cores < 1:
        raise Refused("a job needs at least one core")
    for asked, has, what in (
        (request.cores, capacity.cores, "cores"),
        (request.memory or 0, capacity.memory, "bytes of memory"),
        (request.gpus, len(capacity.devices), "GPUs"),
    ):
        if asked > has:
            raise Refused(f"the job asks for {asked} {what} and the queue has {has}")


def fits(need: Sequence[int], room: Sequence[int]) -> bool:
    """True if there is room for (cores, memory, GPUs)."""
    return all(asked <= has for asked, has in zip(need, room, strict=True))
