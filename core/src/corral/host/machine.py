"""What this machine has, and what kinds of file systems."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from corral.host.devices import devices_by_maker
from corral.host.gpus import MAKERS, usable_gpus, variables_for, visible_gpus

#: File systems on which locks and shared memory cannot be trusted, or reach other hosts.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|afs|lustre|gpfs|beegfs\w*|panfs|pvfs2|orangefs|ceph|gluster\w*|9p|virtiofs|coda|wekafs|fuse\..*"
)
#: File systems in memory.
_IN_MEMORY = ("tmpfs", "ramfs")
#: Folders below which a mount is for what is temporary.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - they are named, not written to


class Capacity(NamedTuple):
    """What all running jobs of a queue may use together."""

    cores: int
    #: Bytes.
    memory: int
    #: GPUs as their maker's variable spells them.
    devices: tuple[str, ...] = ()


def measure(proc: Path = Path("/proc")) -> Capacity:
    """What this process may use: the machine, less what affinity and the control groups above it take away."""
    pairs = list(_limits(proc))
    cores = min([_affinity(), *(cores for cores, _ in pairs if cores is not None)])
    memory = min([_physical_memory(), *(memory for _, memory in pairs if memory is not None)])
    return Capacity(max(1, int(cores)), memory, own_gpus(os.environ))


def own_gpus(environ: Mapping[str, str], root: Path = Path("/")) -> tuple[str, ...]:
    """The GPUs that a process with this environment may use; where it says nothing, all that it can open."""
    present = {maker: [each.is_usable for each in found] for maker, found in devices_by_maker(root).items()}
    if any(maker.variable in environ for maker in MAKERS):
        return next(iter(usable_gpus(visible_gpus(environ), 0, present).values()))
    return tuple(map(str, range(sum(next(iter(present.values()), [])))))


def gpu_variables(names: Sequence[str], root: Path = Path("/")) -> dict[str, str]:
    """What a process of this machine must find in its environment to see these of its GPUs and no others."""
    maker = next(iter(devices_by_maker(root)), MAKERS[0].name)
    return variables_for({maker: names}, {})


def is_on_network(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """True if the path is, or would be made, on a file system that other hosts share."""
    return bool(_NETWORK.fullmatch(file_system(path, mountinfo)))


def file_system(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of file system on which the path is, or would be made: ``nfs4``, ``ext4``; empty if it is not known."""
    mount = _mount_of(path, mountinfo)
    return "" if mount is None else mount.kind


def _mount_of(path: Path, mountinfo: Path) -> _Mount | None:
    path = path.resolve()
    best: _Mount | None = None
    for mount in _mounts(mountinfo):
        # Of two mounts on one point the later one is seen.
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def only_here(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Why no other host can have this path, in words; None if others may.

    A file system in memory, or one that is mounted for temporary files. A local disk proves nothing: it may be what
    this host exports to others, or be installed alike on all of them, and so may the root be in memory.
    """
    best = _mount_of(path, mountinfo)
    if best is None or best.point == "/" or _NETWORK.fullmatch(best.kind):
        return None
    if best.kind in _IN_MEMORY:
        return f"{best.point} is in the memory of this host ({best.kind})"
    if any(Path(best.point).is_relative_to(folder) for folder in _TEMPORARY):
        return f"{best.point} is a file system of this host ({best.kind}) for temporary files"
    return None


# --- control groups ---------------------------------------------------------------------------------------------


class _Mount(NamedTuple):
    root: str
    point: str
    kind: str
    options: tuple[str, ...]


def _mounts(mountinfo: Path) -> Iterator[_Mount]:
    """The mounted file systems: proc(5)."""
    try:
        lines = mountinfo.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        root, point = (field.replace("\\040", " ") for field in left.split()[3:5])
        kind, _source, options = [*right.split(), "", ""][:3]
        yield _Mount(root, point, kind, tuple(options.split(",")))


def _limits(proc: Path) -> Iterator[tuple[float | None, int | None]]:
    """The (cores, memory) that each control group of this process allows, and each group above it."""
    try:
        groups = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = list(_mounts(proc / "self" / "mountinfo"))
    for line in groups:
        _, controllers, group = line.split(":", 2)
        for mount in mounts:
            unified = not controllers and mount.kind == "cgroup2"
            if unified or (mount.kind == "cgroup" and set(controllers.split(",")) & set(mount.options)):
                # Inside a container the mount's root is the container's own group.
                inner = os.path.relpath(group, mount.root)
                folder = Path(mount.point) if inner.startswith("..") else Path(mount.point, inner)
                while folder.is_relative_to(mount.point):
                    yield _limits_of(folder)
                    folder = folder.parent


def _limits_of(folder: Path) -> tuple[float | None, int | None]:
    quota, period = [*_words(folder / "cpu.max"), "max", "100000"][:2]
    if (old := _words(folder / "cpu.cfs_quota_us")) and old != ["-1"]:
        quota, period = old[0], (_words(folder / "cpu.cfs_period_us") or ["100000"])[0]
    memory = [*_words(folder / "memory.max"), *_words(folder / "memory.limit_in_bytes"), "max"][0]
    return (
        int(quota) / int(period) if quota != "max" else None,
        int(memory) if memory != "max" else None,
    )


def _words(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().split()
    return []


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
