"""The waits that this user's clusters remember for one another, in the user's state directory.

Clusters on several hosts write there at the same time, over file servers that know no locks and to which no two hosts
append without harm. So no file is ever changed. Whoever has something to say writes a new one of its own, which appears
complete; when there are many, somebody writes all that they say into one more, and then removes them. Two that do so at
the same time write the same twice: each wait has a key, and counts once. What is not what corral writes is passed over.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress

from corral.host.home import Home
from corral.host.private import PrivateFolder
from corral.scaling.history import MEMORABLE, Wait

#: In the folder of corral's own in the user's state directory: one for all hosts that share the home folder.
WAITS = "waits"
#: So many are kept of one queue.
KEPT = 500
#: When there are so many files, or one is so old (s), they are made one: what is too old goes with that.
FILES, OLD = 16, 7 * 86400.0
_NAME = re.compile(r"[0-9a-f]{32}\.jsonl")
#: Larger files are not read (bytes): ten full queues are three megabytes.
_LARGEST = 2**24


def read() -> list[Wait]:
    """All that is remembered; what cannot be read is passed over.

    Raises
    ------
    NotPrivate, OSError
        The folder cannot be used; that there is none is no error.
    """
    with suppress(FileNotFoundError), Home.of().folder(WAITS) as folder:
        return bounded(each for name in _names(folder) for each in _read(folder, name) or ())
    return []


def add(waits: Iterable[Wait], now: float) -> None:
    """Remember these, too.

    Parameters
    ----------
    now
        Seconds since the epoch: what is too old by then is forgotten, sooner or later.

    Raises
    ------
    NotPrivate, OSError
    """
    with Home.of().folder(WAITS, make=True) as folder:
        _write(folder, waits)
        names = _names(folder)
        if len(names) > FILES or any(_written(folder, name) < now - OLD for name in names):
            _make_one(folder, names, now)


def forget() -> int:
    """Remove all that is remembered; returns how many waits that were.

    Raises
    ------
    NotPrivate, OSError
    """
    found = len(read())
    with suppress(FileNotFoundError), Home.of().open() as home:
        with home.folder(WAITS) as folder:
            for name in _names(folder):
                folder.remove(name)
            folder.remove_drafts()
        home.remove_folder(WAITS)
    return found


def bounded(waits: Iterable[Wait], now: float | None = None) -> list[Wait]:
    """Each once, and the latest of each queue; those that are too old `now` (seconds since the epoch) are left out."""
    by_key = {each.key: each for each in waits if now is None or now - each.submitted <= MEMORABLE}
    by_queue: dict[tuple[str, str, str], list[Wait]] = {}
    for each in by_key.values():
        by_queue.setdefault((each.asked.backend, each.asked.server, each.asked.queue), []).append(each)
    return [
        each
        for mine in by_queue.values()
        for each in sorted(mine, key=lambda each: (each.submitted + each.waited, each.key))[-KEPT:]
    ]


def _make_one(folder: PrivateFolder, names: Iterable[str], now: float) -> None:
    # What cannot be read is not removed.
    found = {name: waits for name in names if (waits := _read(folder, name)) is not None}
    _write(folder, bounded((each for waits in found.values() for each in waits), now))
    for name in found:
        folder.remove(name)
    folder.remove_drafts()


def _names(folder: PrivateFolder) -> list[str]:
    return [name for name in folder.names() if _NAME.fullmatch(name)]


def _written(folder: PrivateFolder, name: str) -> float:
    """When a file was written (s since the epoch); if it is gone, never mind."""
    try:
        return folder.status(name).st_mtime
    except FileNotFoundError:
        return float("inf")


def _write(folder: PrivateFolder, waits: Iterable[Wait]) -> None:
    lines = "".join(f"{json.dumps(each.to_plain())}\n" for each in waits)
    # By another name until it is complete.
    folder.replace(f"{secrets.token_hex(16)}.jsonl", lines)


def _read(folder: PrivateFolder, name: str) -> list[Wait] | None:
    """What a file says; None if it cannot be read, or is gone."""
    try:
        with os.fdopen(folder.open(name), "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError:
        return None
    return None if len(text) > _LARGEST else list(_waits(text.decode(errors="replace")))


def _waits(text: str) -> Iterator[Wait]:
    for line in text.split("\n"):
        with suppress(ValueError, RecursionError):
            yield Wait.of_plain(json.loads(line))
