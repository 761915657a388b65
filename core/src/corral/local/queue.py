"""The queue itself: every job, in SQLite. Each method is one transaction; any number of processes may use it."""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from corral.local.machine import Capacity, measure
from corral.local.request import QUEUE, Refused, Request

#: Seconds for which an ended job is still listed.
KEPT = 3600.0

#: Seconds for which a transaction waits for those of other processes.
PATIENCE = 30.0

# A change of the schema is a change of the name: an older dispatcher may still serve the older file.
_FILE = "queue-v1.sqlite"

# AUTOINCREMENT: an id is never given twice, not even after the newest array was purged.
_SCHEMA = """
CREATE TABLE arrays (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    script TEXT NOT NULL,
    cores INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    gpus INTEGER NOT NULL,
    walltime INTEGER,
    output TEXT,
    grace REAL NOT NULL,
    folder TEXT NOT NULL,
    environment TEXT NOT NULL,
    submitted REAL NOT NULL
);
CREATE TABLE jobs (
    array INTEGER NOT NULL REFERENCES arrays,
    element INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    wish TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER,
    signal INTEGER,
    devices TEXT NOT NULL DEFAULT '',
    started REAL,
    ended REAL,
    PRIMARY KEY (array, element)
) WITHOUT ROWID;
CREATE INDEX pending ON jobs (array, element) WHERE state = 'PENDING';
CREATE INDEX running ON jobs (array, element) WHERE state = 'RUNNING';
CREATE INDEX ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE TABLE capacity (cores INTEGER, memory INTEGER, gpus INTEGER, host TEXT NOT NULL);
"""


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
    """The queue of one directory; made when it is not there yet.

    Raises
    ------
    Refused
        The directory belongs to somebody else, or to a host that still has jobs in it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / _FILE
        if not self.file.exists():
            self._create()
        _refuse_if_not_ours(directory)
        self.connection = _connect(self.file)
        self._refuse_if_of_another_host()

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, with the only right to write from its beginning on."""
        self.connection.execute("BEGIN IMMEDIATE")
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

    def find(self, name: str) -> list[Key]:
        """The jobs with this name that have not ended."""
        rows = self.connection.execute(
            "SELECT array, element FROM jobs JOIN arrays ON arrays.id = array WHERE name = ? AND ended IS NULL", (name,)
        )
        return [Key(*row) for row in rows]

    def describe(self, keys: Iterable[Key]) -> list[dict[str, Any]]:
        """One row a job, as ``status`` prints it."""
        self.connection.execute("BEGIN")
        waiting = self._forecast()
        rows = [row for key in keys if (row := self._describe(key, waiting))]
        self.connection.execute("COMMIT")
        return rows

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
        (found,) = self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'PENDING') "
            "OR EXISTS (SELECT 1 FROM jobs WHERE state = 'RUNNING')"
        ).fetchone()
        return bool(found)

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
                if not _fits(need, (capacity.cores, capacity.memory, len(capacity.devices))):
                    continue  # the capacity was lowered after it was accepted: it must not block the others
                if not _fits(need, (cores, memory, len(free))):
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

    def _describe(self, key: Key, waiting: Mapping[Key, tuple[str, float | None]]) -> dict[str, Any] | None:
        row = self.connection.execute(
            "SELECT state, reason, exit_code, signal, submitted, started, ended, walltime "
            "FROM jobs JOIN arrays ON arrays.id = array WHERE array = ? AND element = ?",
            key,
        ).fetchone()
        if row is None:
            return None
        state, reason, exit_code, signal, submitted, started, ended, walltime = row
        reason, expected = waiting.get(key, (reason, None))
        if ended is None and started is not None and walltime is not None:
            ended = started + walltime
        return {
            "job": str(key),
            "state": state,
            "reason": reason,
            "exit_code": exit_code,
            "signal": signal,
            "submitted": submitted,
            "started": started,
            "host": os.uname().nodename if started is not None else None,
            "expected_start": expected,
            "ends": ended,
        }

    def _forecast(self) -> dict[Key, tuple[str, float | None]]:
        """Why each pending job waits and when it starts at the latest, if every job takes its whole walltime."""
        now, capacity, used = time.time(), self.capacity(), self.used()
        whole = (capacity.cores, capacity.memory, len(capacity.devices))
        free = [whole[0] - used.cores, whole[1] - used.memory, whole[2] - len(used.devices)]
        ends = [
            (started + walltime if walltime is not None else float("inf"), *need)
            for started, walltime, *need in self.connection.execute(
                "SELECT started, walltime, cores, memory, gpus FROM jobs JOIN arrays ON arrays.id = array "
                "WHERE state = 'RUNNING'"
            )
        ]
        heapq.heapify(ends)
        found: dict[Key, tuple[str, float | None]] = {}
        at, reason = now, "Resources"
        for array, element, walltime, *need in self.connection.execute(
            "SELECT array, element, walltime, cores, memory, gpus FROM jobs JOIN arrays ON arrays.id = array "
            "WHERE state = 'PENDING' ORDER BY array, element"
        ):
            if not _fits(need, whole):
                found[Key(array, element)] = ("Capacity: the queue has become too small for it", None)
                continue
            while not _fits(need, free):
                end, *back = heapq.heappop(ends)
                at = max(at, end)
                free = [have + more for have, more in zip(free, back, strict=True)]
            free = [have - less for have, less in zip(free, need, strict=True)]
            heapq.heappush(ends, (at + walltime if walltime is not None else float("inf"), *need))
            found[Key(array, element)] = (reason, at if at != float("inf") else None)
            reason = "Priority"
        return found

    # --- making and checking ------------------------------------------------------------------------------------

    def _create(self) -> None:
        """Make the database under another name: nobody must see it half made."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_not_ours(self.directory)
        draft = self.directory / f"{_FILE}.{os.getpid()}"
        draft.touch(mode=0o600)
        connection = _connect(draft)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO capacity VALUES (NULL, NULL, NULL, ?)", (os.uname().nodename,))
        connection.close()
        with suppress(FileExistsError):  # another process was as quick
            os.link(draft, self.file)
        draft.unlink()

    def _refuse_if_of_another_host(self) -> None:
        here = os.uname().nodename
        (host,) = self.connection.execute("SELECT host FROM capacity").fetchone()
        if host == here:
            return
        if self.has_work():
            raise Refused(f"the queue in {self.directory} belongs to host {host}, which still has jobs in it")
        self.connection.execute("UPDATE capacity SET host = ?", (here,))


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)
    # With write-ahead logging this survives a loss of power too, less the newest transactions.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _refuse_if_not_ours(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o002:
        raise Refused(f"{directory} belongs to another user, or everybody may write to it: use a directory of your own")


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


def _fits(need: Sequence[int], room: Sequence[int]) -> bool:
    return all(asked <= has for asked, has in zip(need, room, strict=True))
