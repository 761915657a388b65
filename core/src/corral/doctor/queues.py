"""The batch system: whether and how fast it answers, and which of its queues take the jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from corral.batch.client import BatchSystem
from corral.batch.queues import no_queues, queues_of
from corral.errors import CorralError
from corral.plugin.values import Finding, Job, Queue, Verdict
from corral.request.queues import describe, why_not

_SUBJECT = "batch system"
#: A question that takes longer is slow (s).
_SLOW = 10.0


async def answers(batch: BatchSystem) -> Finding:
    """Whether it is here, and how long a question about jobs takes."""
    title = batch.facts.title or batch.backend
    if batch.facts.is_everywhere:
        return Finding(subject=_SUBJECT, verdict=Verdict.GOOD, text=f"{title}: this machine alone")
    began = time.monotonic()
    try:
        detected = await batch.runner.converse(batch.manager.hook.detect())
        detecting = time.monotonic() - began
        if detected is not None:
            began = time.monotonic()
            await batch.find("corral-doctor-*")
    except CorralError as error:
        return _silent(title, error)
    if detected is None:
        return Finding(
            subject=_SUBJECT,
            verdict=Verdict.WRONG,
            text=f"{title} is not here: its commands are another batch system's, or say nothing",
            cure="Choose another with backend=; `corral backends` says which are here",
        )
    asking = time.monotonic() - began
    text = f"{' '.join(filter(None, (title, detected.version)))}; it lists jobs in {asking:.2f} s"
    figures = {"detect_s": detecting, "list_s": asking}
    if max(detecting, asking) > _SLOW:
        return Finding(
            subject=_SUBJECT,
            verdict=Verdict.DOUBTFUL,
            text=f"{text}, which is slow",
            cure="It is busy, or its commands come from a slow file system. Ask your administrators",
            figures=figures,
        )
    return Finding(subject=_SUBJECT, verdict=Verdict.GOOD, text=text, figures=figures)


def _silent(title: str, error: Exception) -> Finding:
    return Finding(
        subject=_SUBJECT,
        verdict=Verdict.WRONG,
        text=f"{title} does not answer: {error}",
        cure="If its own commands fail as well, it is down, or this is no submit host: ask your administrators. Else "
        "load its module, or choose another batch system with backend=",
    )


async def takes(batch: BatchSystem, job: Job, identity: str, since: float) -> Finding:
    """Which queues take such a job, and whether its own does.

    Parameters
    ----------
    identity, since
        As for `queues_of`.
    """
    try:
        queues = await queues_of(batch, identity, since=since)
    except CorralError as error:
        return Finding(
            subject="queue",
            verdict=Verdict.DOUBTFUL,
            text=f"the queues cannot be listed: {error}",
            cure="`corral queues` asks for them again",
        )
    if not queues:
        return Finding(subject="queue", verdict=Verdict.GOOD, text=no_queues(batch))
    refused = {queue.name: why_not(queue, job) for queue in queues}
    taking = [name for name, why in refused.items() if not why]
    if (own := _own(queues, job)) is None and job.queue is not None:
        return Finding(
            subject="queue",
            verdict=Verdict.WRONG,
            text=f"there is no queue {job.queue!r} that you may use; those that you may are {', '.join(refused)}",
            cure=_instead(taking),
        )
    if own is not None and (why := refused[own.name]):
        return Finding(
            subject="queue",
            verdict=Verdict.WRONG,
            text=f"queue {own.name!r} does not take such a job: {why}",
            cure=_instead(taking),
        )
    if not taking:
        text = "no queue takes such a job: " + "; ".join(f"{name}: {why}" for name, why in refused.items())
        return Finding(subject="queue", verdict=Verdict.WRONG, text=text, cure=_instead(taking))
    return Finding(subject="queue", verdict=Verdict.GOOD, text="; ".join(_good(own, taking, len(queues))))


def _good(own: Queue | None, taking: Sequence[str], number: int) -> Iterator[str]:
    if own is not None:
        limits = describe(own)
        name = f"queue {own.name!r}" if own.name else "the only queue"
        yield f"{name} takes the job" + (f" ({limits})" if limits else "")
    yield f"{len(taking)} of {number} do: {', '.join(taking)}"


def _own(queues: Sequence[Queue], job: Job) -> Queue | None:
    return next((queue for queue in queues if (queue.name == job.queue if job.queue else queue.is_default)), None)


def _instead(taking: Sequence[str]) -> str:
    if taking:
        return f"Say queue={taking[0]!r}, or ask for less; `corral queues` lists all limits"
    return "Ask for less, or name the account that you may use with account=; `corral queues` lists all limits"
