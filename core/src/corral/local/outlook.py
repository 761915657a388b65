"""What a queue says of its jobs: their rows, why they wait, and when they will start."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from corral.local.queue import Key, Queue, fits

FOREVER = float("inf")


class Outlook(NamedTuple):
    """What a pending job can expect."""

    reason: str
    #: When it starts at the latest; None: that cannot be told.
    start: float | None


def describe(queue: Queue, keys: Iterable[Key]) -> list[dict[str, Any]]:
    """One row a job, as ``status`` prints it; for those that are still listed."""
    with queue.snapshot():
        rows = {key: row for key in keys if (row := _row(queue, key))}
        if any(row["state"] == "PENDING" for row in rows.values()):
            for key, outlook in _outlooks(queue):
                if key in rows:
                    rows[key] |= {"reason": outlook.reason, "expected_start": outlook.start}
    return list(rows.values())


def explain(queue: Queue, key: Key, row: Mapping[str, Any]) -> str:
    """Say in a sentence why a job waits, and when it may start; empty if it does not wait."""
    if row["state"] == "HELD":
        return "it is held: release it"
    if row["state"] != "PENDING":
        return ""
    if row["reason"] not in ("Resources", "Priority"):
        return str(row["reason"])
    before, start = queue.before(key), row["expected_start"]
    line = {0: "it is the next", 1: "1 job is before it"}.get(before, f"{before} jobs are before it")
    if start is None:
        return f"{line}; when it starts cannot be told: a job that must end before has no walltime"
    if start <= time.time():
        return f"{line}; there is room for it: it starts now"
    return f"{line}; it starts at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(start))} or earlier"


def _row(queue: Queue, key: Key) -> dict[str, Any] | None:
    found = queue.connection.execute(
        "SELECT state, reason, exit_code, signal, submitted, started, ended, walltime "
        "FROM jobs JOIN arrays ON arrays.id = array WHERE array = ? AND element = ?",
        key,
    ).fetchone()
    if found is None:
        return None
    state, reason, exit_code, signal, submitted, started, ended, walltime = found
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
        "expected_start": None,
        "ends": ended,
    }


def _outlooks(queue: Queue) -> Iterator[tuple[Key, Outlook]]:
    """The outlook of each pending job, if every job takes its whole walltime."""
    capacity, used, now = queue.capacity(), queue.used(), time.time()
    whole = (capacity.cores, capacity.memory, len(capacity.devices))
    free = _minus(whole, (used.cores, used.memory, len(used.devices)))
    needs = "FROM jobs JOIN arrays ON arrays.id = array WHERE state = ? ORDER BY array, element"
    ends = [
        (FOREVER if walltime is None else started + walltime, need)
        for started, walltime, *need in queue.connection.execute(
            f"SELECT started, walltime, cores, memory, gpus {needs}",
            ("RUNNING",),
        )
    ]
    heapq.heapify(ends)
    at, reason = now, "Resources"
    for array, element, walltime, *need in queue.connection.execute(
        f"SELECT array, element, walltime, cores, memory, gpus {needs}",
        ("PENDING",),
    ):
        if not fits(need, whole):
            yield Key(array, element), Outlook("Capacity: the queue has become too small for it", None)
            continue
        while not fits(need, free):
            end, back = heapq.heappop(ends)
            at = max(at, end)
            free = [have + more for have, more in zip(free, back, strict=True)]
        free = _minus(free, need)
        heapq.heappush(ends, (FOREVER if walltime is None else at + walltime, need))
        yield Key(array, element), Outlook(reason, None if at == FOREVER else at)
        reason = "Priority"


def _minus(room: Sequence[int], need: Sequence[int]) -> list[int]:
    return [have - less for have, less in zip(room, need, strict=True)]
