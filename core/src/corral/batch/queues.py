"""The queues of a batch system, as they were told a moment ago: asked once for all clusters of a process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Iterator, Sequence

from corral.batch.client import BatchSystem
from corral.host.limits import threads_allowed
from corral.plugin.values import Queue

#: How long an answer serves (s): limits change rarely; what is free only breaks ties, or is told to a person.
FRESH = 300.0

#: By whom was asked, and how: when, on the monotonic clock, and what was answered.
_known: dict[str, tuple[float, tuple[Queue, ...]]] = {}


async def queues_of(
    batch: BatchSystem, identity: str, *, since: float | None = None, is_further: bool = False
) -> Sequence[Queue]:
    """What `describe_queues` told a moment ago.

    Parameters
    ----------
    identity
        Equal for batch systems that answer alike: of `Blueprint.identity`.
    since
        An answer from before that moment, on the monotonic clock, is too old. Default: `FRESH` s ago.
    is_further
        As for `BatchSystem.queues`.

    Raises
    ------
    BatchSystemError, ParseError
    """
    moment, answer = _known.get(identity, (float("-inf"), ()))
    if moment < (time.monotonic() - FRESH if since is None else since):
        answer = tuple(await batch.queues(is_further=is_further))
        _known[identity] = time.monotonic(), answer
    return answer


def queues_at_once(batch: BatchSystem, identity: str) -> Sequence[Queue]:
    """The same where nobody can await it: also inside a running event loop, which stands still meanwhile."""
    with threads_allowed(), concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(queues_of(batch, identity))).result()


def accounts_told() -> Iterator[str]:
    """The accounts that answers have named: somebody else's, perhaps."""
    for _, answer in _known.values():
        for queue in answer:
            yield from queue.accounts


def forget() -> None:
    """Ask anew: for tests, and for whoever has changed a queue."""
    _known.clear()


def no_queues(batch: BatchSystem) -> str:
    """Why a batch system has told of no queue."""
    title = batch.facts.title or batch.backend
    return f"{title} {batch.facts.no_queues}" if batch.facts.no_queues else f"{title} lists no queue here"
