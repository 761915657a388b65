"""Which queues take a job where a site may want it otherwise for each; pure, but for what the site's hooks do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from corral.errors import InvalidRequest
from corral.plugin.sites import nodes_for
from corral.plugin.values import Job, Queue
from corral.request.queues import Choice, choose, why_not

if TYPE_CHECKING:
    from corral.request.sites import Site

Prepare = Callable[[Job], Job]


def verdicts(asked: Job, queues: Sequence[Queue], prepare: Prepare) -> dict[str, str]:
    """By queue, why it does not take such a job as it would be submitted there; empty if it does.

    Whole nodes of one queue are no more than a part of another's.
    """
    return {queue.name: _verdict(asked, queue, prepare) for queue in queues}


def _verdict(asked: Job, queue: Queue, prepare: Prepare) -> str:
    try:
        job = prepare(evolve(asked, queue=queue.name or None))
    except InvalidRequest as error:
        return error.problem
    return why_not(queue, job)


def choice_for(asked: Job, queues: Sequence[Queue], prepare: Prepare, site: Site | None, *, nothing: str) -> Choice:
    """The queue that ``"auto"`` means: of those that a site has for such jobs, its first that the batch system grants.

    A site that chooses nodes by other means than queues is not asked to have it otherwise.

    Raises
    ------
    InvalidRequest
        None takes it; says of each why.
    """
    names: list[str] = []
    if site is not None and site.nodes:
        prepare(asked)  # where the site has no nodes at all for it, it says why
        for node in nodes_for(asked, site.nodes):
            if node.queue is None:
                return Choice(queue="", reason=f"{site.title} has no queues to choose; {node.name!r} takes the job")
            names.append(node.queue)
    return choose(
        asked, queues, nothing=nothing, reasons=verdicts(asked, queues, prepare), preferred=list(dict.fromkeys(names))
    )
