"""The way from everybody to the dispatcher: a named pipe that it reads. Nobody reads: nobody is there."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PIPE = "wakeup"


def wake(directory: Path) -> None:
    """Tell the dispatcher that something has changed; start one if there is none."""
    if not poke(directory):
        start_dispatcher(directory)


def poke(directory: Path) -> bool:
    """Tell the dispatcher that something has changed; False if there is none."""
    try:
        pipe = os.open(directory / _PIPE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:  # no pipe, or no reader (ENXIO)
        return False
    try:
        os.write(pipe, b"!")
    except BlockingIOError:
        pass  # full of pokes not yet read
    except BrokenPipeError:
        return False
    finally:
        os.close(pipe)
    return True


def listen(directory: Path) -> int:
    """Open the reading end. For the holder of the lock alone."""
    with suppress(FileExistsError):
        os.mkfifo(directory / _PIPE, 0o600)
    # For writing too: a pipe whose last writer has gone would always be ready to be read.
    return os.open(directory / _PIPE, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)


def lock(directory: Path) -> int:
    """Open the file whose lock makes a process the dispatcher."""
    return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int) -> bool:
    """Become the dispatcher, if nobody is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def dispatcher_arguments(directory: Path) -> list[bytes]:
    """How the argument list of this queue's dispatcher ends."""
    return [b"dispatch", b"--directory", os.fsencode(directory)]


def start_dispatcher(directory: Path) -> None:
    """Start a dispatcher that has nothing of this process: no terminal, no files, no working directory."""
    if os.fork() != 0:
        return
    try:
        os.setsid()
        os.chdir("/")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(directory / "dispatcher.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for name in os.listdir("/dev/fd"):
            if int(name) > 2:
                with suppress(OSError):
                    os.set_inheritable(int(name), False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        python = [sys.executable, "-P", "-m", "corral.local"]
        os.execv(python[0], [*python, *map(os.fsdecode, dispatcher_arguments(directory))])  # noqa: S606
    except OSError as error:
        os.write(2, f"corral.local: no dispatcher could be started: {error}\n".encode())
    finally:
        os._exit(1)
