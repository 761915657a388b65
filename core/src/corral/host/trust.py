"""The way to what is the user's alone, and who may be met on it: see `corral.host.private`.

Each folder is opened below the one before it, what was opened is looked at, and is refused or passed. Starts with the
standard library alone.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

#: To pass through a folder one need not be able to list it.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: To look into it one must; so it is opened that is private itself.
LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: As many as the kernel follows.
_LINKS = 40

_ANOTHER = "Name a folder below one that only you can write to, in your home for example"


@contextmanager
def passed(path: Path, *, make: bool, owner: int | None = None) -> Iterator[int]:
    """Go from the root to a folder, and look at each on the way; yields its descriptor.

    `owner` may have folders and links on the way, beside the user and root, but where anybody can put some.
    """
    ahead = list(reversed(path.parts[1:]))
    here, where = os.open("/", _PASS), Path("/")
    links = 0
    try:
        _refuse_on_the_way(os.fstat(here), where, owner)
        while ahead:
            name = ahead.pop()
            known = owner if owner is None or not _who_else_writes(os.fstat(here)) else None
            try:
                below = enter(here, name, _PASS, make=make)
            except NotADirectoryError:
                target = _target(here, where / name, known)
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
                ahead += reversed([part for part in target.split("/") if part])
                if not target.startswith("/"):
                    continue
                below, name = os.open("/", _PASS), "/"
            except FileNotFoundError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(where / name)) from None
            os.close(here)
            # Of the targets of links: `below` is where they lead, whatever it is called.
            here, where = below, Path(os.path.normpath(where / name))
            _refuse_on_the_way(os.fstat(here), where, known)
        yield here
    finally:
        os.close(here)


def enter(parent: int, name: str, flags: int, *, make: bool) -> int:
    """Open a folder in a folder; a missing one is made if that is wanted."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            # Listing a folder makes an NFS client ask its server again, and forget that there was nothing.
            with suppress(OSError):
                _list(parent)
            return os.open(name, flags, dir_fd=parent)
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def _list(folder: int) -> None:
    descriptor = os.open(".", LIST, dir_fd=folder)
    try:
        os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _target(parent: int, link: Path, owner: int | None) -> str:
    """Where a link on the way leads."""
    status = os.stat(link.name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(link))
    if not _is_trusted(status.st_uid) and status.st_uid != owner:
        refuse(link, f"is a link that belongs to {_user(status.st_uid)}", _ANOTHER)
    return os.readlink(link.name, dir_fd=parent)


# --- what is refused --------------------------------------------------------------------------------------------


def _refuse_on_the_way(status: os.stat_result, path: Path, owner: int | None) -> None:
    if not _is_trusted(status.st_uid) and status.st_uid != owner:
        refuse(path, f"belongs to {_user(status.st_uid)}, who could replace what you have in it", _ANOTHER)
    mode = status.st_mode
    if mode & stat.S_ISVTX:
        # Others may add, and not touch what is there.
        return
    if whose := _who_else_writes(status):
        refuse(
            path,
            f"has mode {stat.S_IMODE(mode):04o}: {whose} could replace what you have in it",
            f"{_ANOTHER}; or have its owner run: chmod {'+t' if status.st_uid == 0 else 'go-w'} {path}",
        )


def _who_else_writes(status: os.stat_result) -> str:
    """Who may write to it beside its owner; empty if nobody may."""
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP and not _is_group_of_one(status.st_gid):
        return f"everybody in group {_group(status.st_gid)}"
    return ""


def refuse_changeable(path: Path) -> None:
    """Refuse a file that others than its owner could change; by what it says the user's programs are run.

    Whose it is does not matter: somebody has named it, or it is where a centre's files are. Links are followed.

    Raises
    ------
    NotPrivate
        Others could write to it, or replace it.
    OSError
        It is not there, or cannot be looked at.
    """
    whole = Path(os.path.abspath(path))
    owner = whole.stat().st_uid
    for _ in range(_LINKS):
        with passed(whole.parent, make=False, owner=owner) as parent:
            status = os.stat(whole.name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISLNK(status.st_mode):
                whose = _who_else_writes(os.fstat(parent))
                break
            whole = whole.parent / _target(parent, whole, None if _who_else_writes(os.fstat(parent)) else owner)
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not stat.S_ISREG(status.st_mode):
        refuse(path, "is not a regular file", "Name one that is")
    if status.st_uid != owner:
        refuse(path, f"has just become a file of {_user(status.st_uid)}", "Try again")
    if whose and not _is_trusted(owner):
        refuse(path, f"belongs to {_user(owner)}, and is where {whose} can put files", _ANOTHER)
    if whose := _who_else_writes(status):
        mode = stat.S_IMODE(status.st_mode)
        refuse(
            path, f"has mode {mode:04o}: {whose} could change what it says", f"Have its owner run: chmod go-w {path}"
        )


def refuse_folder(status: os.stat_result, path: Path) -> None:
    """Refuse a folder that is not private.

    Raises
    ------
    NotPrivate
    """
    if status.st_uid != os.geteuid():
        refuse(path, f"belongs to {_user(status.st_uid)}, and must be yours alone", _ANOTHER)
    if status.st_mode & 0o077:
        refuse(
            path,
            f"has mode {stat.S_IMODE(status.st_mode):04o}, and must be yours alone",
            f"If nobody else has put anything there, run: chmod 700 {path}; else name another folder",
        )


def refuse_file(status: os.stat_result, path: Path) -> None:
    """Refuse a file that is not private.

    Raises
    ------
    NotPrivate
    """
    if not stat.S_ISREG(status.st_mode):
        refuse(path, "is not a regular file", "Remove it")
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        refuse(
            path,
            f"has mode {stat.S_IMODE(status.st_mode):04o} and belongs to {_user(status.st_uid)}: "
            "it must be yours alone",
            "Name a folder on a file system that keeps POSIX modes, and remove what others have written",
        )
    if status.st_nlink > 1:
        refuse(path, f"has {status.st_nlink} names, one of which may be anywhere", "Remove it")


def _is_trusted(uid: int) -> bool:
    return uid in (0, os.geteuid()) or uid == _unmapped()


def _unmapped() -> int | None:
    """Whom the files of all users seem to belong to that this container does not know, root among them."""
    with suppress(OSError, ValueError):
        outside = {int(line.split()[1]) for line in Path("/proc/self/uid_map").read_text().splitlines()}
        if 0 not in outside:
            return int(Path("/proc/sys/kernel/overflowuid").read_text())
    return None


def _is_group_of_one(gid: int) -> bool:
    """True for root's group, and for one that a user has for himself: then the umask is often 002."""
    if gid == 0:
        return True
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    import pwd

    with suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


def _group(gid: int) -> str:
    import grp

    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def refuse(path: Path, problem: str, cure: str) -> NoReturn:
    """Raise `NotPrivate`, which costs an import that most processes do without."""
    from corral.errors import NotPrivate

    raise NotPrivate(path, problem, cure)
