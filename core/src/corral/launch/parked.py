"""Results in files: what a leaving worker holds and no other worker can take, until a new one reads it back.

A result is written as Dask spills it, to a file of its own in the cluster's private folder. The scheduler then takes
"read that file" for what computes the result (`corral.cluster.parking.Parking.park`), so that Dask's own way of
getting back what was lost, computing it again, becomes reading it.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

# From where both are defined: the package does not say that it exports them.
from distributed.protocol.serialize import deserialize_bytes, serialize_bytelist

from corral.host.home import PARKED
from corral.host.private import open_private_folder

#: Seconds for which a file server may hide a file that was just written.
_HIDDEN = 60.0


class ParkedResultLost(Exception):
    """A result that was kept in a file cannot be read back."""


def write(cluster_folder: str, value: Any) -> tuple[str, int]:
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
    name = f"{secrets.token_hex(16)}.result"
    size = 0
    with open_private_folder(cluster_folder) as cluster, cluster.folder(PARKED, make=True) as folder:
        descriptor = folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    size += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            folder.remove(name)
            raise
        return str(folder.path / name), size


def read(path: str) -> Any:
    """Read a value back, as a task of its own.

    Raises
    ------
    ParkedResultLost
    """
    deadline = time.monotonic() + _HIDDEN
    file = Path(path)
    while True:
        try:
            # What is read is unpickled: it must be private still.
            with open_private_folder(file.parent) as folder:
                # Listing the folder makes an NFS client ask its server again.
                if file.name in folder.names() or time.monotonic() > deadline:
                    with os.fdopen(folder.open(file.name), "rb") as opened:
                        return deserialize_bytes(opened.read())
        except OSError as error:
            raise ParkedResultLost(f"a finished result was kept in {path}, which cannot be read: {error}") from error
        time.sleep(0.5)


def reading_task(key: Any, path: str) -> Any:
    """What the scheduler has run to have the result again."""
    from dask._task_spec import Task

    return Task(key, read, path)
