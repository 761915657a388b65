"""What is known of each node of a job that has several: pure functions, as in `corral.jobs.record`.

A node that dies takes its workers along while the rest of the job goes on. No batch system tells every kind of that
death at once, so the workers do: a node is lost when all of its workers have been gone for a while and others of the
job are still here. Should one come back, it is no longer lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve, field, frozen

from corral.text.printable import printable

#: A node without workers for so long is lost (s): those that a nanny restarts are back by then.
SILENT_GRACE = 15.0


@frozen(kw_only=True)
class Node:
    """One node of a job."""

    #: 0 is the node where the job's script runs.
    index: int
    #: Its name, as the batch system spells it; empty: its launcher has not said it yet.
    host: str = field(default="", converter=printable)
    #: When its last worker left; None while it has one, or had none yet.
    silent_since: float | None = None
    is_lost: bool = False

    def __str__(self) -> str:
        return self.host or f"number {self.index}"


def of_job(count: int) -> tuple[Node, ...]:
    """The nodes of a new job; a single one needs no keeping: its death is the job's."""
    return tuple(Node(index=index) for index in range(count)) if count > 1 else ()


def node_of(worker: str, workers_per_node: int) -> int:
    """The index of a worker's node, by its name: ``77_3-5`` is on the node 1 if each has four."""
    return int(worker.rpartition("-")[2]) // workers_per_node


def changed(nodes: tuple[Node, ...], index: int, **changes: Any) -> tuple[Node, ...]:
    """The nodes with one of them changed."""
    return tuple(evolve(node, **changes) if node.index == index else node for node in nodes)


def silenced(
    nodes: tuple[Node, ...], workers: Iterable[str], workers_per_node: int, left: str, now: float
) -> tuple[Node, ...]:
    """The nodes after a worker has left, and these are still here."""
    index = node_of(left, workers_per_node)
    if index in {node_of(worker, workers_per_node) for worker in workers}:
        return nodes
    return changed(nodes, index, silent_since=now)


def lost_at(node: Node) -> float | None:
    """When the node is to be given up; None if it works, or is given up already."""
    return None if node.is_lost or node.silent_since is None else node.silent_since + SILENT_GRACE


def lost(nodes: tuple[Node, ...], now: float) -> list[Node]:
    """Those to be given up now."""
    return [node for node in nodes if (moment := lost_at(node)) is not None and moment <= now]
