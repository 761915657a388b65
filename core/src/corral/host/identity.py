"""Which process looks after a cluster: so another can say for certain whether it lives, or that it cannot say.

A pid alone is given out again, and a moment of the clock moves when the clock is set. What stays is the boot of the
kernel, the namespaces by which the kernel counts, the pid there, and the clock tick after boot in which the process
began. Who shares host, boot and namespaces sees the process itself. Nobody else does: from another host, from a
container with the same host's name, after a restart, nothing is certain until the cluster itself was asked.
"""

from __future__ import annotations

import enum
import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path

from attrs import Attribute, field, frozen


class Sight(enum.Enum):
    """What can be seen of a process from here."""

    LIVES = "lives"
    GONE = "gone"
    #: It is on another host, in another container, or of another boot: it cannot be looked at.
    UNSEEN = "unseen"


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def _machine() -> str:
    known = _text("/etc/machine-id")
    return hashlib.blake2s(b"corral", key=known.encode()[:32], digest_size=16).hexdigest() if known else ""


def _namespaces() -> str:
    # A kernel before 5.6 has no namespaces of time.
    found = []
    for kind in ("pid", "time"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/ns/{kind}"))
    return " ".join(found)


def _proc_is_ours() -> bool:
    """False where /proc shows the processes of another namespace: their numbers mean others."""
    with suppress(OSError):
        return os.readlink("/proc/self") == str(os.getpid())
    return False


def _ticks(process: str) -> int | None:
    """When it began, field 22 of proc(5), counted after the name, which may hold anything; None: it has ended.

    Raises
    ------
    OSError
        It cannot be looked at.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if not fields or fields[0] in b"ZX" else int(fields[19])


def _own_ticks() -> int:
    with suppress(OSError):
        return _ticks("self") or 0
    return 0


def _boot_began() -> float | None:
    """Seconds since the epoch."""
    for line in _text("/proc/stat").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return None


def _is_line(_: object, attribute: Attribute[str], value: str) -> None:
    if not value.isprintable() or len(value) > 4096:
        raise ValueError(f"{attribute.name} is {value[:60]!r}, which is not one printable line")


@frozen(kw_only=True)
class Identity:
    """One process of one host."""

    host: str = field(factory=socket.gethostname, validator=_is_line)
    #: Tells hosts of one name apart, if each was installed for itself; made of machine-id(5), which is for no eyes.
    machine: str = field(factory=_machine)
    boot: str = field(factory=lambda: _text("/proc/sys/kernel/random/boot_id"))
    #: Of pids, and of the moments at which processes began.
    namespaces: str = field(factory=_namespaces)
    #: 0: nobody.
    pid: int = field(factory=os.getpid)
    #: Clock ticks after boot: no clock that is set changes them.
    ticks: int = field(factory=_own_ticks)

    @classmethod
    def nobody(cls) -> Identity:
        """No process looks after the cluster yet."""
        return cls(host="", machine="", boot="", namespaces="", pid=0, ticks=0)

    def look(self) -> Sight:
        """What can be seen of it from this process."""
        here = Identity()
        is_known = self.boot and self.namespaces and self.ticks
        if not is_known or (self.host, self.boot, self.namespaces) != (here.host, here.boot, here.namespaces):
            return Sight.UNSEEN
        try:
            ticks = _ticks(str(self.pid))
        except OSError:
            return Sight.UNSEEN
        # Where /proc shows other processes than ours, it is no witness.
        if not _proc_is_ours():
            return Sight.UNSEEN
        return Sight.LIVES if ticks == self.ticks else Sight.GONE

    def ended_with_its_boot(self, last_heard: float) -> bool:
        """True if this very machine has been started anew since the process was last heard of.

        The same name and the same installation are not enough: nodes without disks share the one, containers the
        other. A twin that lives says so once a minute, after this boot began too.

        Parameters
        ----------
        last_heard
            Seconds since the epoch.
        """
        here = Identity()
        is_same = bool(self.machine) and (self.host, self.machine) == (here.host, here.machine)
        began = _boot_began()
        return is_same and bool(self.boot) and self.boot != here.boot and began is not None and last_heard < began
