"""The record of one attempt: a file that its supervisor locks for life and adds lines to.

Lines are JSON objects whose entries add up. A line that is not complete was never written, as far as readers know.
The file appears at once with its first line and locked: it is made under another name.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from corral.local.database import RUNNING
from corral.local.processes import boot
from corral.local.queue import Key, Outcome


class Record(NamedTuple):
    """What a record said when it was read."""

    #: Process id of the supervisor: valid as long as it is alive.
    supervisor: int
    is_alive: bool
    is_of_this_boot: bool
    #: The script's process and when it started (clock ticks); None: not started.
    leader: int | None
    since: int | None
    #: None: it has not ended, or its supervisor could not tell.
    outcome: Outcome | None


def folder(directory: Path) -> Path:
    """Where the records of a queue are, and next to each the script that runs."""
    return directory / RUNNING


def record_path(directory: Path, key: Key) -> Path:
    """Where the record of a running job is."""
    return folder(directory) / str(key)


def script_path(directory: Path, key: Key) -> Path:
    """Where the script of a running job is."""
    return folder(directory) / f"{key}.sh"


def paths(directory: Path, key: Key) -> tuple[Path, Path]:
    """The files that a job has while it runs."""
    return record_path(directory, key), script_path(directory, key)


def create(path: Path) -> int:
    """Record that the calling process supervises now; returns the descriptor to write to, which holds the lock."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    add(descriptor, supervisor=os.getpid(), boot=boot())
    draft.rename(path)
    return descriptor


def add(descriptor: int, **entries: Any) -> None:
    """Add to the record whose descriptor this is."""
    line = json.dumps(entries).encode() + b"\n"
    if os.write(descriptor, line) != len(line):
        raise OSError("no room on the disk for the record of a job")


def read(path: Path) -> Record | None:
    """The record, or None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # First the lock: what a supervisor wrote before it died is then surely seen.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_alive = False
        except BlockingIOError:
            is_alive = True
        with open(descriptor, "rb", closefd=False) as file:
            text = file.read()
    finally:
        os.close(descriptor)
    entries: dict[str, Any] = {}
    for line in text.splitlines(keepends=True):
        if line.endswith(b"\n"):
            entries.update(json.loads(line))
    return Record(
        supervisor=entries["supervisor"],
        is_alive=is_alive,
        is_of_this_boot=entries["boot"] == boot(),
        leader=entries.get("leader"),
        since=entries.get("since"),
        outcome=Outcome(*entries["outcome"]) if "outcome" in entries else None,
    )
