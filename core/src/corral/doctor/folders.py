"""The folders that a cluster writes to: whether they are private, take anything, and are on the nodes as well."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from corral.errors import NotPrivate
from corral.host.home import Home
from corral.host.machine import file_system, is_on_network, only_here
from corral.plugin.values import Finding, Verdict

#: Credentials, logs and what clusters tell each other take less than this (bytes); there must be room for it.
_ROOM = 1 << 20
#: Below this something will fail soon (bytes; files).
_TIGHT, _FEW = 100 << 20, 1000
_FULL = (errno.ENOSPC, errno.EDQUOT)


def home(of: Home, host: str = "") -> Finding:
    """The folder that is the user's alone, with credentials in it.

    Parameters
    ----------
    host
        Where it is; empty: here.
    """
    subject = "shared folder"
    path = of.path / f".new-{secrets.token_hex(8)}"
    try:
        of.write_new(path, "0" * _ROOM)
        of.files.remove_private([str(path)])
    except NotPrivate as error:
        return Finding(subject=subject, verdict=Verdict.WRONG, text=f"{error.path} {error.problem}", cure=error.cure)
    except OSError as error:
        return _failed(subject, of.path, error, "shared_directory=")
    if host:
        return Finding(subject=subject, verdict=Verdict.GOOD, text=f"{of.path} on {host}: private, written to")
    return _roomy(subject, of.path)


def logs(folder: Path) -> Finding:
    """A folder for logs of the user's own choice."""
    subject = "log folder"
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f".corral-doctor-{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, b"0" * 4096)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink()
        return _roomy(subject, folder)
    except OSError as error:
        return _failed(subject, folder, error, "log_directory=")
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def unshared(folder: Path, argument: str) -> Iterator[Finding]:
    """Why nodes cannot have this folder, if that can be seen from here."""
    if why := only_here(folder):
        yield Finding(
            subject=argument.rstrip("=").replace("_directory", " folder"),
            verdict=Verdict.DOUBTFUL,
            text=f"nodes have no {folder}: {why}",
            cure=f"Name a folder that this host and the nodes share with {argument}",
        )


def _failed(subject: str, path: Path, error: OSError, argument: str) -> Finding:
    where = error.filename if isinstance(error.filename, str) and error.filename.startswith("/") else str(path)
    if error.errno in _FULL:
        of_quota = "; your quota is used up" if error.errno == errno.EDQUOT else ""
        return Finding(
            subject=subject,
            verdict=Verdict.WRONG,
            text=f"{where} is full: there is no room for {_ROOM >> 20} MiB{of_quota}",
            cure=f"Remove some files there, or name another folder with {argument}",
        )
    return Finding(
        subject=subject,
        verdict=Verdict.WRONG,
        text=f"{where} cannot be written to: {(error.strerror or str(error)).lower()}",
        cure=f"Name a folder that you may write to with {argument}",
    )


def _roomy(subject: str, path: Path) -> Finding:
    kind = file_system(path)
    status = os.statvfs(path)
    free, files = status.f_bavail * status.f_frsize, status.f_favail
    # Some file systems make room for files as they need it, and say 0 of 0.
    knows_files = status.f_files > 0
    shared = ", which other hosts may share" if is_on_network(path) else ""
    text = f"{path}: private, written to" if subject == "shared folder" else f"{path}: written to"
    text += f", {_size(free)} free" + (f" ({kind}{shared})" if kind else "")
    figures = {"free_bytes": float(free), **({"free_files": float(files)} if knows_files else {})}
    if free < _TIGHT or (knows_files and files < _FEW):
        what = f"only {_size(free)}" if free < _TIGHT else f"room for only {files} files"
        return Finding(
            subject=subject,
            verdict=Verdict.DOUBTFUL,
            text=f"{path} has {what} left",
            cure="Remove some files there, or name another folder",
            figures=figures,
        )
    return Finding(subject=subject, verdict=Verdict.GOOD, text=text, figures=figures)


def _size(number: int) -> str:
    from dask.utils import format_bytes

    return format_bytes(number)
