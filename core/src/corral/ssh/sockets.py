"""The folder of a connection's control socket: nobody else's, with a short name, and gone with its process."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

#: Longer names do not fit into the address of a socket, to which ssh adds 17 characters while it binds (unix(7): 108).
_LONGEST = 60


def socket_folder() -> Path:
    """A new folder with mode 0700; those that killed processes have left are removed."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp
        if parent and len(parent) <= _LONGEST and os.access(parent, os.W_OK | os.X_OK):
            break
    _remove_left(Path(parent))
    return Path(tempfile.mkdtemp(prefix=f"corral-ssh-{os.getpid()}-", dir=parent))


def _remove_left(parent: Path) -> None:
    for path in parent.glob("corral-ssh-*"):
        found = re.fullmatch(r"corral-ssh-(\d+)-\w+", path.name)
        with suppress(OSError):
            status = path.lstat()
            if found is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            if not _lives(int(found[1])) and not answers(path / "s"):
                shutil.rmtree(path, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def answers(path: Path) -> bool:
    """True if somebody listens at this socket."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(1.0)
        try:
            knocking.connect(str(path))
        except OSError:
            return False
    return True
