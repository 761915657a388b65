"""What is read and removed of jobs' logs and what stands beside them; on this host, and elsewhere by `corral.ssh`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from corral.host.private import open_private_folder


class Files:
    """Files of this host, or of one with the same paths."""

    def text(self, path: str) -> bytes:
        """Everything in a file.

        Raises
        ------
        OSError
        """
        return Path(path).read_bytes()

    def end(self, path: str, size: int) -> bytes:
        """So many bytes of its end.

        Raises
        ------
        OSError
        """
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read()

    def after(self, path: str, seen: str, size: int) -> tuple[str, bytes]:
        """What has come to a file since it was read last, and what says so the next time.

        Of a file that is another one by now, or shorter, it is what it holds from its beginning.

        Parameters
        ----------
        seen
            What was returned the last time; empty: nothing was read yet.
        size
            So many bytes at most.

        Raises
        ------
        OSError
        """
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            which = f"{status.st_dev}:{status.st_ino}"
            before, _, at = seen.rpartition(" ")
            begin = int(at) if before == which and int(at) <= status.st_size else 0
            file.seek(begin)
            piece = file.read(size)
            return f"{which} {begin + len(piece)}", piece

    def size(self, path: str) -> int | None:
        """In bytes; None: there is no such file, or it cannot be seen."""
        try:
            return os.stat(path).st_size
        except OSError:
            return None

    def make_folder(self, path: str) -> None:
        """Make a folder of the user's own choice, and those above it.

        Raises
        ------
        OSError
        """
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)

    def complete_lines(self, folder: str, known: Mapping[str, int | None]) -> dict[str, tuple[int, str]]:
        """Short files of one line, by name: when they were written (ns), and the line.

        Parameters
        ----------
        known
            Their names, and when those were written that are known already: these are left out.
        """
        found: dict[str, tuple[int, str]] = {}
        with suppress(OSError):
            # One listing for all: that is what file servers like.
            for name in known.keys() & set(os.listdir(folder)):
                with suppress(OSError, ValueError):
                    path = os.path.join(folder, name)
                    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                    with os.fdopen(descriptor, encoding="ascii") as file:
                        written = os.fstat(file.fileno()).st_mtime_ns
                        text = "" if known[name] == written else file.read(16)
                    # Without its end it is being written.
                    if text.endswith("\n"):
                        found[name] = written, text.rstrip("\n")
        return found

    def remove_own(self, paths: Iterable[str]) -> None:
        """Remove the user's own plain files; no link is followed, also not to the folder."""
        for path in map(Path, paths):
            with suppress(OSError):
                folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                        os.unlink(path.name, dir_fd=folder)
                finally:
                    os.close(folder)

    def remove_private(self, paths: Iterable[str]) -> None:
        """Remove files in folders that are the user's alone."""
        for path in map(Path, paths):
            with suppress(OSError), open_private_folder(path.parent) as folder:
                folder.remove(path.name)


#: This host's.
HERE = Files()
