"""The folder of journals, in the user's state directory: one file for each cluster, long after it has ended.

As private as the registry: files of the user's alone, never followed through a link. They go by age: `MOST` clusters
are kept, for `OLD` at most and in `ROOM` altogether; those that have been written to least recently go first, and those
of registered clusters, which may live, never.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from corral.errors import UnreadableJournal
from corral.host.home import Home
from corral.host.private import PrivateFolder
from corral.text.printable import printable
from corral.view.history import History, last_sample, read_head, read_journal
from corral.view.journal import LARGEST, Head, Sample

JOURNALS = "journals"
#: So many are kept, for so long (s), of so many bytes in all.
MOST, OLD, ROOM = 100, 90 * 86_400.0, 256 * 2**20
_NAME = re.compile(r"[0-9a-f]{32}\.jsonl")
#: So much of the end of a journal (bytes) has its last sample.
_TAIL = 2**16


@frozen(kw_only=True)
class Listed:
    """A journal that is there."""

    head: Head
    #: How the cluster stood last; None: nothing is known.
    sample: Sample | None
    #: When it was written to last (s since the epoch).
    written: float
    #: False: it lives, or was killed.
    is_closed: bool


@frozen
class Unread:
    """A file among the journals that is none, or cannot be read."""

    path: Path
    problem: str

    def __str__(self) -> str:
        return printable(f"{self.path} is passed over: {self.problem}")


def path_of(uuid: str) -> Path:
    """Where the journal of this cluster is, or would be."""
    return Home.of().path / JOURNALS / _name(uuid)


def append(uuid: str, head: bytes, lines: bytes, *, begins: bool) -> bool:
    """Add lines to the journal of a cluster; returns False, and adds none, if it should be there and is not.

    Parameters
    ----------
    begins
        Begin it, or go on with one that an earlier process of the same cluster has left.

    Raises
    ------
    NotPrivate, OSError
        What was written before is still there; a line may be torn.
    """
    with Home.of().folder(JOURNALS, make=True) as folder:
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if begins else 0)
        try:
            descriptor = folder.open(_name(uuid), flags)
        except FileNotFoundError:
            return False
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            # What follows a torn line is a line of its own.
            end = b"" if _ends_well(descriptor) else b"\n"
            _write(file.fileno(), end + (head if begins else b"") + lines)
    return True


def size_of(uuid: str) -> int:
    """Bytes of a journal; 0: there is none.

    Raises
    ------
    NotPrivate, OSError
    """
    with suppress(FileNotFoundError), Home.of().folder(JOURNALS) as folder:
        return folder.status(_name(uuid)).st_size
    return 0


def read(uuid: str) -> History:
    """The journal of a cluster.

    Raises
    ------
    FileNotFoundError
        There is none.
    UnreadableJournal
        It is damaged at its beginning, or of a later corral; says which file.
    NotPrivate, OSError
    """
    with Home.of().folder(JOURNALS) as folder:
        raw = _bytes(folder, _name(uuid))
    try:
        return read_journal(raw)
    except UnreadableJournal as error:
        raise UnreadableJournal(f"{path_of(uuid)} cannot be read: {error}") from None


def listed() -> tuple[list[Listed], list[Unread]]:
    """All journals, of clusters that began last first; and what is there and cannot be read."""
    found, odd = [], []
    try:
        with Home.of().folder(JOURNALS) as folder:
            for name in folder.names():
                try:
                    found.append(_listed(folder, name))
                except FileNotFoundError:
                    continue
                except (OSError, UnreadableJournal) as error:
                    odd.append(Unread(folder.path / name, getattr(error, "problem", "") or _words(error)))
    except FileNotFoundError:
        pass
    except OSError as error:
        odd.append(Unread(Home.of().path / JOURNALS, getattr(error, "problem", "") or _words(error)))
    return sorted(found, key=lambda each: -each.head.began), odd


def remove_old(living: Collection[str], now: float | None = None) -> None:
    """Remove the journals that are too old or too many.

    Parameters
    ----------
    living
        Uuids of clusters that are registered: theirs are left alone.

    Raises
    ------
    NotPrivate, OSError
    """
    limit = (time.time() if now is None else now) - OLD
    with suppress(FileNotFoundError), Home.of().folder(JOURNALS) as folder:
        files = sorted(_files(folder), key=lambda each: -each[1].st_mtime)
        count = room = 0
        for name, status in files:
            count, room = count + 1, room + status.st_size
            is_surplus = count > MOST or room > ROOM or status.st_mtime < limit
            if is_surplus and name.partition(".")[0] not in living:
                folder.remove(name)


def forget(uuids: Collection[str]) -> int:
    """Remove the journals of these clusters; returns how many there were.

    Raises
    ------
    NotPrivate, OSError
    """
    removed = 0
    with suppress(FileNotFoundError), Home.of().open() as home:
        with home.folder(JOURNALS) as folder:
            removed = sum(folder.remove(_name(uuid)) for uuid in uuids)
        home.remove_folder(JOURNALS)
    return removed


def _name(uuid: str) -> str:
    name = f"{uuid}.jsonl"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{uuid!r} is not a uuid of a cluster")
    return name


def _files(folder: PrivateFolder) -> Iterator[tuple[str, os.stat_result]]:
    for name in filter(_NAME.fullmatch, folder.names()):
        with suppress(FileNotFoundError):
            yield name, folder.status(name)


def _listed(folder: PrivateFolder, name: str) -> Listed:
    if not _NAME.fullmatch(name):
        raise UnreadableJournal("it has not the name of a journal")
    with os.fdopen(folder.open(name), "rb") as file:
        status = os.fstat(file.fileno())
        head = read_head(file.readline(_TAIL))
        file.seek(max(0, status.st_size - _TAIL))
        sample, is_closed = last_sample(file.read(_TAIL))
    if name != _name(head.uuid):
        raise UnreadableJournal(f"it is of cluster {head.uuid}, but has another name")
    return Listed(head=head, sample=sample, written=status.st_mtime, is_closed=is_closed)


def _bytes(folder: PrivateFolder, name: str) -> bytes:
    with os.fdopen(folder.open(name), "rb") as file:
        # Not more than corral writes, whatever was put there.
        return file.read(2 * LARGEST)


def _ends_well(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return not size or os.pread(descriptor, 1, size - 1) == b"\n"


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
