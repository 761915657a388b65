"""The only way to what must be the user's alone: credentials, orders, registry, ledgers, queues.

A name can mean another file a moment later. So nothing here is looked at by its name and then used by its name: each
folder is opened below the one before it, what was opened is looked at, and what was looked at is used.

Two rules, which `corral.host.trust` keeps. Folders on the way belong to the user or to root, and nobody else may write
to them; to sticky ones such as ``/tmp`` others may add. Links there are followed if they are the user's or root's: a
home folder may be one. What is private itself, the folder at the end and all below, is the user's own, without any
right for others, and never a link.

Starts with the standard library alone: the commands of the embedded queue and the launcher of every job import it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from corral.host.trust import LIST, enter, passed, refuse, refuse_file, refuse_folder

if TYPE_CHECKING:
    from types import TracebackType

#: Whatever was planted is looked at first: a pipe would block, a terminal become ours.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
#: What begins a file or folder that is not complete yet; after so long (s) it never will be.
_DRAFT = ".new-"
_DRAFTED = 600.0
#: How often a folder is made that vanishes again.
_TRIES = 50
#: What `rename` says where there is something else than an empty folder of the user's.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EPERM, errno.EACCES, errno.EBUSY)
#: How long a lock is waited for (s), and how long until it is tried again.
PATIENCE = 1.0
_AGAIN = 0.01


def open_private_folder(path: str | os.PathLike[str], *, make: bool = False) -> PrivateFolder:
    """Open a folder that is the user's alone; close what is returned, or use it in a ``with``.

    Parameters
    ----------
    make
        Make it if it is missing, and those above it, each with mode 0700.

    Raises
    ------
    FileNotFoundError
        It is not there, and is not to be made.
    NotPrivate
        It is somebody else's, or others could read it, write to it or replace it.
    OSError
    """
    whole = Path(os.path.abspath(path))
    tries = _TRIES if make else 1
    while True:
        tries -= 1
        try:
            with passed(whole.parent, make=make) as parent:
                return _private_folder(parent, whole, make=make)
        except FileNotFoundError:
            # Who removes empty folders may have been quicker than who fills them.
            if not tries:
                raise


def make_private_folder(path: str | os.PathLike[str], files: Mapping[str, str]) -> None:
    """Make a folder that appears at once with these files in it; an empty one of the user's is replaced.

    Raises
    ------
    FileExistsError
        There is something of that name.
    NotPrivate, OSError
    """
    whole = Path(os.path.abspath(path))
    draft = f"{_DRAFT}{os.urandom(8).hex()}"
    with passed(whole.parent, make=True) as parent:
        try:
            with _private_folder(parent, whole.parent / draft, make=True) as folder:
                for name, text in files.items():
                    folder.write_new(name, text)
            os.rename(draft, whole.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException as error:
            _discard(parent, draft, files)
            # Where something is, the kernel says so in many words.
            if isinstance(error, OSError) and error.errno in _TAKEN:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(whole)) from None
            raise


def _draft_of(name: str) -> str:
    """How the names of those begin that are to take this file's place."""
    return f"{_DRAFT}{name}-"


def _discard(parent: int, draft: str, files: Iterable[str]) -> None:
    with suppress(OSError):
        with _private_folder(parent, Path(draft), make=False) as folder:
            for name in files:
                folder.remove(name)
        os.rmdir(draft, dir_fd=parent)


class PrivateFolder:
    """A folder of the user's alone that is open. Names are those of files in it, never paths."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        #: Where it was found; for messages, and for programs that take nothing but a path.
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    # --- folders ------------------------------------------------------------------------------------------------

    def folder(self, name: str, *, make: bool = False) -> PrivateFolder:
        """Open a private folder in this one.

        Raises
        ------
        FileNotFoundError, NotPrivate, OSError
        """
        return _private_folder(self.descriptor, self.path / _plain(name), make=make)

    def remove_folder(self, name: str) -> bool:
        """Remove a folder that is empty; True if it is gone or was not there."""
        try:
            os.rmdir(_plain(name), dir_fd=self.descriptor)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    # --- files --------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Everything in the folder, sorted, but for files that are not complete yet. Asks a file server afresh."""
        return sorted(name for name in os.listdir(self.descriptor) if not name.startswith(_DRAFT))

    def status(self, name: str) -> os.stat_result:
        """What the file system knows of an entry; of a link, not of what it leads to.

        Raises
        ------
        FileNotFoundError
        """
        return os.stat(_plain(name), dir_fd=self.descriptor, follow_symlinks=False)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file, and return its descriptor; with ``os.O_CREAT`` a missing one is made, with mode 0600.

        Raises
        ------
        FileNotFoundError
        FileExistsError
            With ``os.O_EXCL``.
        NotPrivate
            It is a link, no regular file, somebody else's, or others have rights to it.
        OSError
        """
        path = self.path / _plain(name)
        try:
            # Nothing is cut off before it was looked at.
            descriptor = os.open(name, (flags & ~os.O_TRUNC) | _FILE, 0o600, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                refuse(path, "is not a regular file", "Remove it: corral never uses anything else in place of a file")
            raise
        try:
            refuse_file(os.fstat(descriptor), path)
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            if flags & os.O_EXCL:
                with suppress(OSError):
                    os.unlink(name, dir_fd=self.descriptor)
            raise
        return descriptor

    def read(self, name: str) -> str:
        """The text of a file.

        Raises
        ------
        FileNotFoundError, NotPrivate, OSError, UnicodeDecodeError
        """
        with os.fdopen(self.open(name), encoding="utf-8") as file:
            return file.read()

    def write_new(self, name: str, text: str) -> None:
        """Write a file that is not there yet; on the disk, and for other hosts to find, when this returns.

        Raises
        ------
        FileExistsError
            Nothing is ever written over.
        NotPrivate
            The file system gives others rights to it.
        OSError
            It is not left half written.
        """
        descriptor = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            self._sync()
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=self.descriptor)
            raise

    def replace(self, name: str, text: str) -> None:
        """Write a file, in the place of one that may be there: readers see all of the old or all of the new.

        Raises
        ------
        NotPrivate, OSError
        """
        draft = f"{_draft_of(name)}{os.urandom(8).hex()}"
        _plain(name)
        self.write_new(draft, text)
        try:
            os.replace(draft, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=self.descriptor)
            raise
        self._sync()

    def remove_drafts(self, of: str | None = None) -> None:
        """Remove what processes that were killed while they wrote have left: no writing takes minutes.

        Parameters
        ----------
        of
            The name of a file that nobody writes any more: what was to take its place goes at once.

        Raises
        ------
        OSError
        """
        for name in os.listdir(self.descriptor):
            if name.startswith(_DRAFT):
                # Whoever writes it may have finished meanwhile.
                with suppress(FileNotFoundError):
                    is_dead = of is not None and name.startswith(_draft_of(of))
                    if is_dead or time.time() - self.status(name).st_mtime >= _DRAFTED:
                        self.remove(name)

    def remove(self, name: str) -> bool:
        """Remove a regular file of the user's; False if there is none. Links and folders are left alone.

        Raises
        ------
        OSError
        """
        try:
            status = self.status(name)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return False
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def lock(self, name: str | None = None, *, patience: float = PATIENCE) -> Iterator[int]:
        """Keep other processes out of what the same lock guards; a process that is killed lets go of it.

        Parameters
        ----------
        name
            A file, which is made if it is missing, and open for reading and writing: what it guards may stand in it.
            None: the folder itself.
        patience
            How long to wait for it (s).

        Yields
        ------
        int
            The descriptor that has the lock. Some file servers know no locks: there it has none.

        Raises
        ------
        TimeoutError
            Another process has it: it works, was stopped, or waits for a dead disk.
        NotPrivate, OSError
        """
        if name is None:
            descriptor = os.open(".", LIST, dir_fd=self.descriptor)
        else:
            descriptor = self.open(name, os.O_RDWR | os.O_CREAT)
        try:
            deadline = time.monotonic() + patience
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    where = self.path if name is None else self.path / name
                    raise TimeoutError(f"{where} has been locked by another process for {patience:g} s")
                time.sleep(_AGAIN)
            yield descriptor
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            # Some file systems have nothing to write for a folder.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                raise


def _private_folder(parent: int, path: Path, *, make: bool) -> PrivateFolder:
    try:
        descriptor = enter(parent, path.name, LIST, make=make)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except NotADirectoryError:
        refuse(path, "is a link or a file where a private folder must be", "Remove it, or name the folder itself")
    except PermissionError as error:
        # One of somebody else's that is closed to us: say whose it is.
        with suppress(OSError):
            refuse_folder(os.stat(path.name, dir_fd=parent, follow_symlinks=False), path)
        raise PermissionError(error.errno, error.strerror, str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        refuse_folder(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return PrivateFolder(descriptor, path)


def _plain(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a file in a folder")
    return name


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # This file server has no locks, or none for this: what is not guarded is at least not stopped.
        return True
    return True
