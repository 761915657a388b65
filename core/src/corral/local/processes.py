"""What Linux offers to be sure of processes. Elsewhere these do what they can."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

# linux/prctl.h
_SET_PDEATHSIG = 1
_SET_NAME = 15
_SET_CHILD_SUBREAPER = 36


def die_with_parent() -> None:
    """Be killed by the kernel when the parent dies. The parent may have died before: check it afterwards."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, however it was detached."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """What ``ps -o comm`` shows: 15 characters."""
    _prctl(_SET_NAME, name.encode()[:15])


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        # Best effort: a sandbox may forbid it, and the rest of the clean-up still works.
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


@functools.cache
def boot() -> str:
    """Changes when the machine is started again; another container's processes are another boot's, too."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


class Process(NamedTuple):
    """What proc(5) says of a process."""

    pid: int
    parent: int
    group: int
    session: int
    #: Clock ticks after boot: with the pid, the identity of a process.
    since: int


def process(pid: int) -> Process | None:
    """The process, unless it has ended (a zombie has)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, between parentheses, may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if not fields or fields[0] in b"ZX":
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def descendants(ancestor: int, spare: Callable[[int], bool]) -> list[Process]:
    """The living children of a process, their children, and so on; not below a process that is spared."""
    children: dict[int, list[Process]] = {}
    for found in _processes():
        children.setdefault(found.parent, []).append(found)
    family: list[Process] = []
    line = [ancestor]
    while line:
        for child in children.get(line.pop(), []):
            if not spare(child.pid):
                family.append(child)
                line.append(child.pid)
    return family


def session_members(leader: int, since: int | None) -> list[int]:
    """The living processes of the session that `leader`, started at `since`, has opened.

    As long as a session has members its number is given to no other process. So if there is a process of that
    number which started at another time, the session is over.
    """
    first = process(leader)
    if first is not None and first.since != since:
        return []
    return [found.pid for found in _processes() if found.session == leader]


def with_variables(wanted: frozenset[bytes]) -> list[int]:
    """The processes of this user in whose environment each ``NAME=value`` of these stood when they started."""
    found = []
    for entry in _processes():
        with suppress(OSError), open(f"/proc/{entry.pid}/environ", "rb") as file:
            if wanted <= set(file.read().split(b"\0")):
                found.append(entry.pid)
    return found


def arguments(pid: int) -> list[bytes]:
    """The argument list of a process; empty if it has ended."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")
    return []


def kill(pid: int, number: int) -> None:
    """Send a signal; gone is no error, and a process that became another user's is out of reach."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _processes() -> Iterator[Process]:
    with suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            if name.isdecimal() and (found := process(int(name))):
                yield found
