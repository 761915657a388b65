"""What the processes of one user on one host share: a lock, a clock, and a few small files.

Nothing here is worth an error, nor any wait of more than a second. Whoever cannot have the lock for some seconds, or
cannot write, goes on as if it were alone: a process that was stopped, a full disk or a file server without locks must
not stop a submission. Whatever cannot be read is taken for empty: it was half written, or another version's.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from corral.errors import NotPrivate
from corral.host.home import Home
from corral.host.private import PrivateFolder, open_private_folder
from corral.text.logs import logger_of

logger = logger_of("corral.host.shared")

#: Another version that writes otherwise has another number here, and is not read.
FORMAT = 1
#: How long the lock is waited for (s).
PATIENCE = 1.0
#: Who could not have it for so long, again and again, goes on as if it were alone (s).
RESIGNED_AFTER = 4.0
#: When to try again if it is merely busy (s).
BUSY = 0.2
#: A file that is larger is not ours (bytes).
_LARGEST = 100_000_000
_LOCK = "lock"


def now() -> float:
    """Seconds since this host started: the same for all its processes, and moved by nobody who sets the clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@functools.cache
def era() -> str:
    """What moments belong to: one start of one host (and one time namespace of it)."""
    words = []
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(),
        lambda: os.readlink("/proc/self/ns/time"),
    ):
        with suppress(OSError):
            words.append(read().strip())
    return " ".join(words)


class Board:
    """The shared files, while the lock is held; texts of JSON by name."""

    def __init__(self, texts: dict[str, str], folder: PrivateFolder | None = None, *, is_busy: bool = False) -> None:
        self._texts = texts
        self._folder = folder
        #: Somebody else has the lock at the moment: what can wait should, and what is written here is lost.
        self.is_busy = is_busy

    def read(self, name: str) -> dict[str, Any]:
        """What stands in a file; empty if there is none, or it is of another time or version."""
        try:
            found = json.loads(self._read(name))
        except (OSError, NotPrivate, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("era") != era():
            return {}
        return found

    def write(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, "era": era(), **content})
        if self._folder is None:
            self._texts[name] = text
            return
        try:
            # In its place: nobody else reads it now, and half a file is as good as none.
            with os.fdopen(
                self._folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8"
            ) as file:
                file.write(text)
        except (OSError, NotPrivate) as error:
            logger.debug("%s cannot be shared: %s", name, error)

    def remove(self, name: str) -> None:
        self._texts.pop(name, None)
        if self._folder is not None:
            with suppress(OSError):
                self._folder.remove(name)

    def _read(self, name: str) -> str:
        if self._folder is None:
            return self._texts.get(name, "")
        with os.fdopen(self._folder.open(name), encoding="utf-8") as file:
            return "" if os.fstat(file.fileno()).st_size > _LARGEST else file.read()


class Shared:
    """A folder of this host's and this user's; without one, what is shared stays within the process.

    In the user's state folder, below the host's name: every process of the user's finds the same one, whether it was
    started from a terminal, by a hub or by cron. A runtime directory would be faster than a home folder that a file
    server has, but not all of them are told of it, and it ends with the last login.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = now) -> None:
        self.folder = folder
        self.now = clock
        #: What this process would have written.
        self._texts: dict[str, str] = {}
        self._guard = threading.RLock()
        #: It goes on as if it were alone; and since when it could not have the lock.
        self._is_resigned = False
        self._failing_since: float | None = None

    @classmethod
    def of_this_host(cls) -> Shared:
        return cls(Home.of().path / "hosts" / socket.gethostname())

    @contextmanager
    def locked(self) -> Iterator[Board]:
        """Have the files for oneself. Blocks, for a second at most: not on an event loop."""
        if self.folder is None:
            with self._guard:
                yield Board(self._texts)
            return
        with ExitStack() as held:
            try:
                if self.folder.is_relative_to(Home.of().path):
                    Home.of().make()
                folder = held.enter_context(open_private_folder(self.folder, make=True))
                held.enter_context(folder.lock(_LOCK, patience=0.0 if self._is_resigned else PATIENCE))
                board = Board(self._texts, folder)
                self._is_resigned, self._failing_since = False, None
            except TimeoutError as error:
                if self._failing_since is None:
                    self._failing_since = time.monotonic()
                if time.monotonic() - self._failing_since >= RESIGNED_AFTER:
                    self._resign(error)
                held.enter_context(self._guard)
                board = Board(self._texts if self._is_resigned else {}, is_busy=not self._is_resigned)
            except (OSError, NotPrivate) as error:
                self._resign(error)
                held.enter_context(self._guard)
                board = Board(self._texts)
            yield board

    def stamp(self, name: str) -> object:
        """Another one whenever the file was written. Needs no lock."""
        if self.folder is None:
            return self._texts.get(name)
        with suppress(OSError):
            status = os.stat(self.folder / name)
            return status.st_mtime_ns, status.st_size, status.st_ino, self._texts.get(name)
        return self._texts.get(name)

    def _resign(self, error: Exception) -> None:
        if not self._is_resigned:
            logger.warning(
                "this process goes on as if it were your only one on this host, and does not count the commands of the "
                "others: %s",
                error,
            )
        self._is_resigned = True
