"""What workers use of what their jobs asked for: memory at its peak, and cores while they have tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field, frozen

from corral.launch.used import USED
from corral.view.amounts import size

#: Below this part of its memory limit, a Dask worker neither spills for its size nor pauses
#: (``distributed.worker.memory.spill``).
_COMFORTABLE = 0.7
#: Who needs this part of what was asked, or less, is told so.
_MUCH_LESS = 0.5
#: Seconds for which workers have had tasks, together, before anything is said of them.
_EVIDENCE = 60.0


@frozen(kw_only=True)
class Used:
    """What the workers of a group have used of a node, and what was asked for; zero: not known."""

    #: Bytes of a node.
    asked_memory: int = 0
    #: Bytes: the most that the workers of a node used together, if each was at its peak at the same time.
    peak_memory: int = 0
    #: Bytes of a node with which the hungriest worker would have been comfortable.
    enough_memory: int = 0
    asked_cores: int = 0
    #: Cores of a node that were busy, on average, while its workers had tasks.
    busy_cores: float = 0.0
    #: Cores of a node that tasks can use: its workers' threads.
    threads: int = 0
    #: Seconds for which workers had tasks, together.
    seconds: float = 0.0
    #: Tasks ran programs of their own, whose memory is not known.
    has_programs: bool = False

    @property
    def advice(self) -> tuple[str, ...]:
        """What would have been enough, where that is much less; a sentence each."""
        if self.seconds < _EVIDENCE:
            return ()
        said = []
        if not self.has_programs and 0 < self.enough_memory <= _MUCH_LESS * self.asked_memory:
            asked, peak = size(self.asked_memory), size(self.peak_memory)
            said.append(f"asked {asked}, peak {peak}: memory='{_enough(self.enough_memory)}' would do")
        if self.asked_cores > 1 and self.busy_cores <= _MUCH_LESS * min(self.asked_cores, self.threads):
            said.append(
                f"asked {self.asked_cores} cores, {self.busy_cores:.1f} busy on average while workers had tasks: fewer "
                "cores= would do, or more processes= if tasks hold Python's GIL"
            )
        return tuple(said)


@define(eq=False)
class _Sums:
    #: Bytes of the hungriest node and of the hungriest worker.
    node: int = 0
    worker: int = 0
    #: Seconds of cores and of workers, while these had tasks.
    cores: float = 0.0
    seconds: float = 0.0
    has_programs: bool = False


@frozen(kw_only=True)
class Reading:
    """What one worker said last."""

    address: str
    #: Which node of which job: anything that tells them apart.
    node: object
    group: str
    is_busy: bool
    metrics: Mapping[str, Any]


@define(eq=False)
class Meter:
    """Adds up what workers say of themselves."""

    _sums: dict[str, _Sums] = field(factory=dict, init=False)
    #: By address: when it was read, whether it had tasks, and the seconds of cores until then.
    _last: dict[str, tuple[float, bool, float]] = field(factory=dict, init=False)

    def read(self, readings: Iterable[Reading], now: float) -> None:
        """Read all workers that there are."""
        last: dict[str, tuple[float, bool, float]] = {}
        nodes: dict[tuple[str, object], int] = {}
        for each in readings:
            used = each.metrics.get(USED)
            if not isinstance(used, Mapping):
                continue
            sums = self._sums.setdefault(each.group, _Sums())
            memory, cores = int(used["memory"]), float(used["cores"])
            node = each.group, each.node
            nodes[node] = nodes.get(node, 0) + memory
            sums.worker = max(sums.worker, memory)
            sums.has_programs |= bool(used["has_programs"])
            moment, was_busy, before = self._last.get(each.address, (now, False, cores))
            # Workers speak less often than they are read: what the last task took may be heard of after its end.
            if each.is_busy or was_busy:
                sums.cores += max(0.0, cores - before)
            if was_busy:
                sums.seconds += now - moment
            last[each.address] = (now, each.is_busy, cores)
        for (group, _), memory in nodes.items():
            self._sums[group].node = max(self._sums[group].node, memory)
        self._last = last

    def used(self, group: str, *, memory: int, cores: int, processes: int, threads: int) -> Used:
        """What the workers of a group have used of a node that has this much of everything; threads are a worker's."""
        sums = self._sums.get(group, _Sums())
        return Used(
            asked_memory=memory,
            peak_memory=sums.node,
            enough_memory=math.ceil(max(sums.node, processes * sums.worker) / _COMFORTABLE),
            asked_cores=cores,
            busy_cores=processes * sums.cores / sums.seconds if sums.seconds else 0.0,
            threads=processes * threads,
            seconds=sums.seconds,
            has_programs=sums.has_programs,
        )


def _enough(memory: int) -> str:
    """As ``memory=`` takes it, rounded up: ``6GB``."""
    return f"{math.ceil(memory / 1e9)}GB" if memory > 0.9e9 else f"{math.ceil(memory / 1e8)}00MB"
