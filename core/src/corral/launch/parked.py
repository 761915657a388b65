"""Results in files: what a leaving worker holds and no other worker can take, until a new one reads it back.

A result is written as Dask spills it, to a file of its own in the cluster's private folder. The scheduler then takes
"read that file" for what computes the result (`corral.scheduler.Scheduler.park`), so that Dask's own way of getting back
what was lost, computing it again, becomes reading it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from distributed.protocol import deserialize_bytes, serialize_bytelist

#: Beside the cluster's credentials.
FOLDER = "parked"
#: The names of the files: nothing else in that folder is ever removed.
FILE = re.compile(r"[0-9a-f]{32}\.result")

#: Seconds for which a file server may hide a file that was just written.
_HIDDEN = 60.0


class ParkedResultLost(Exception):
    """A result that was kept in a file cannot be read back."""


def write(folder: Path, value: Any) -> tuple[str, int]:
    """Write a value to a new file that only its owner can read.

    Returns
    -------
    tuple[str, int]
        Its path, and its size in bytes.

    Raises
    ------
    OSError
    Exception
        Whatever serializing raises.
    """
    pieces = serialize_bytelist(value, on_error="raise")
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{secrets.token_hex(16)}.result"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    size = 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                size += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return str(path), size


def read(path: str) -> Any:
    """Read a value back, as a task of its own.

    Raises
    ------
    ParkedResultLost
    """
    deadline = time.monotonic() + _HIDDEN
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            break
        except OSError as error:
            # While its folder is there, an NFS client's memory may be old.
            if not os.path.isdir(os.path.dirname(path)) or time.monotonic() > deadline:
                raise ParkedResultLost(f"a finished result was kept in {path}, which cannot be read: {error}") from None
        time.sleep(0.5)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        # What is read is unpickled.
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise ParkedResultLost(f"{path} is not a private file of yours any more: it is not read")
        return deserialize_bytes(file.read())


def remove_all(folder: Path) -> None:
    """Remove every result that was kept, and the folder if nothing else is in it."""
    with suppress(OSError):
        for path in folder.iterdir():
            if FILE.fullmatch(path.name):
                path.unlink(missing_ok=True)
        folder.rmdir()


def reading_task(key: Any, path: str) -> Any:
    """What the scheduler has run to have the result again."""
    from dask._task_spec import Task

    return Task(key, read, path)
