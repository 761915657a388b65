"""Which CPUs a process has, which of them are one core, and how the workers of a node share them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

Cpus = frozenset[int]


def own_cpus() -> Cpus:
    """Those on which this process may run: never more than its control group has. Empty where nobody can say."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def cpus_of(text: str) -> Cpus:
    """Those that the kernel's list ``0-3,8`` names."""
    spans = re.findall(r"(\d+)(?:-(\d+))?", text)
    return frozenset(cpu for first, last in spans for cpu in range(int(first), int(last or first) + 1))


def cores_of(cpus: Cpus, root: Path = Path("/")) -> list[Cpus]:
    """The same CPUs by core, neighbours beside each other: first by memory, then as the kernel numbers them."""
    nodes = sorted((root / "sys/devices/system/node").glob("node[0-9]*"), key=lambda node: int(node.name[4:]))
    place = {cpu: number for number, node in enumerate(nodes) for cpu in cpus_of(_text(node / "cpulist"))}
    cores = set()
    for cpu in cpus:
        siblings = cpus_of(_text(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
        cores.add((siblings | {cpu}) & cpus)
    return sorted(cores, key=lambda core: (place.get(min(core), 0), min(core)))


def share(items: Sequence[T], worker: int, workers: int) -> tuple[T, ...]:
    """An even share of one of the workers; where they are more than the items, one that others use too."""
    if len(items) < workers:
        return (items[worker * len(items) // workers],)
    return tuple(items[worker * len(items) // workers : (worker + 1) * len(items) // workers])


def even_shares(cores: Sequence[Cpus], workers: int) -> list[Cpus]:
    """The CPUs of each worker."""
    return [_all(share(cores, worker, workers)) for worker in range(workers)]


def near_shares(cores: Sequence[Cpus], near: Sequence[Cpus], least: int) -> list[Cpus] | None:
    """The CPUs of each worker, near its GPUs; None if there are too few, or nobody knows what is near.

    Parameters
    ----------
    near
        For each worker, the CPUs near its GPUs, of which the job may have some, or none.
    least
        How many cores each worker must have.
    """
    found: list[Cpus] = []
    for worker, wanted in enumerate(near):
        # Workers whose GPUs are at the same place share what is there.
        mates = [mate for mate, others in enumerate(near) if others == wanted]
        there = [core for core in cores if core <= wanted]
        if len(there) < least * len(mates):
            return None
        found.append(_all(share(there, mates.index(worker), len(mates))))
    # Places that overlap without being the same are none that can be shared.
    return found if sum(map(len, found)) == len(_all(found)) else None


def _all(cores: Iterable[Cpus]) -> Cpus:
    return frozenset().union(*cores)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
