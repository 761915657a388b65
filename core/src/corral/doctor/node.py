"""What a node says of itself: runs in a job, in whatever Python the job has, which may lack corral and Dask.

Its text is put into the job's script. So it needs nothing but the standard library, from Python 3.9 on, and no line of
it begins like a directive of a batch system.
"""

from __future__ import annotations

import os
import socket
import sys


def look(packages: list[str], modules: list[str], folders: dict[str, str]) -> dict[str, object]:
    """Look at this host and this Python.

    Parameters
    ----------
    packages
        Distributions whose versions are wanted.
    modules
        Modules of which is wanted whether they can be found.
    folders
        What is to be written to, by what it is for.

    Returns
    -------
    dict
        ``versions`` has None where there is no such package; ``missing`` are modules; ``problems`` says why folders
        cannot be written to.
    """
    problems = [(what, _problem(folder)) for what, folder in folders.items()]
    return {
        "host": socket.gethostname(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "versions": {name: _version(name) for name in packages},
        "missing": [name for name in modules if not _is_there(name)],
        "problems": {what: problem for what, problem in problems if problem},
    }


def _version(name: str) -> str | None:
    try:
        from importlib.metadata import version

        return version(name)
    except Exception:
        # Of an installation that is damaged, too.
        return None


def _is_there(name: str) -> bool:
    try:
        from importlib.util import find_spec

        return find_spec(name) is not None
    except Exception:
        return False


def _problem(folder: str) -> str:
    path = os.path.join(folder, f".corral-doctor-{socket.gethostname()}-{os.getpid()}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return error.strerror or str(error)
    try:
        # One block: what is full takes names, but nothing in them.
        os.write(descriptor, b"0" * 4096)
        os.fsync(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(descriptor)
        os.unlink(path)
    return ""
