"""A directory of the launcher's own, and the removal of those that killed launchers left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

#: Held by all processes of a launcher, and so free when the last of them is gone.
_LOCK = "lock"
#: Of a directory that may not have its lock yet.
_DRAFT = ".draft-"


def make_scratch(parent: str | None) -> str:
    """Make a private directory for workers, in `parent` or where temporary files belong."""
    if parent is not None:
        make_folder(parent)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT + _prefix(), dir=parent))
    # Never closed: the processes that are forked from this one hold it too.
    descriptor = os.open(draft / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return str(draft.rename(draft.with_name(draft.name.removeprefix(_DRAFT))))


def make_folder(path: str) -> None:
    """Make a directory and its parents, each that is missing for this user alone."""
    if not os.path.isdir(path):
        make_folder(os.path.dirname(path))
        # A launcher beside this one may be as quick.
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)


def remove_leftovers(parent: str | None) -> None:
    """Remove the directories of launchers of this user, on this host, of which no process lives.

    A launcher that ends, or is killed, takes its directory along; one whose whole job is killed at once cannot.
    """
    for path in Path(parent or tempfile.gettempdir()).glob(f"{_prefix()}*"):
        with suppress(OSError):
            if path.lstat().st_uid == os.geteuid() and _is_free(path / _LOCK):
                shutil.rmtree(path, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    # Where there are no such locks this raises, and nothing is removed.
    with lock.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _prefix() -> str:
    # On a file system that nodes share, only this host knows whether its processes live.
    return f"corral-{socket.gethostname()}-"
