"""Which queues take a job, and which of them ``queue="auto"`` means; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen
from dask.utils import format_bytes

from corral.errors import InvalidRequest, counted
from corral.plugin.values import Job, Queue
from corral.text.durations import in_words
from corral.text.printable import printable

#: What a user says instead of a queue's name.
AUTO = "auto"
#: Queues for trials and for people who wait at a prompt: sites do not want a cluster there, if there is another.
_FOR_TRIALS = re.compile(r"(?i)debug|devel|test|interact|jupyter|visu|express")
#: So many queues are told of.
_TOLD = 6


@frozen(kw_only=True)
class Choice:
    """The queue that was chosen for a job."""

    queue: str
    #: In a sentence, without the name.
    reason: str
    #: Of the other queues, and of what is not known.
    details: Sequence[str] = ()

    @property
    def why(self) -> str:
        return "; ".join([self.reason, *self.details])

    def __str__(self) -> str:
        return f"queue {self.queue!r}: {self.why}"


def choose(
    job: Job,
    queues: Sequence[Queue],
    *,
    nothing: str,
    reasons: Mapping[str, str] | None = None,
    preferred: Sequence[str] = (),
) -> Choice:
    """The tightest queue that takes such a job.

    That is, of those that start jobs now: not one for trials, the fewest GPUs, the shortest walltime, the least memory,
    the fewest cores; then the default; then the most free nodes. Scarce hardware comes first: who needs no GPU must not
    wait for one, nor keep others from it. What is not known of a queue keeps no job away, and is no reason to take it.

    Parameters
    ----------
    job
        As it was prepared; the queue that it names is not looked at.
    nothing
        Why there are no queues, if there are none.
    reasons
        By queue, why it does not take the job, or an empty text, where that is known already.
    preferred
        Queues in the order of a site, which knows better: no other is chosen.

    Raises
    ------
    InvalidRequest
        None takes it; says of each why.
    """
    if not queues:
        raise InvalidRequest("queue", f"there is nothing to choose from with {AUTO!r}: {nothing}. Leave queue= out")
    reasons = {queue.name: why_not(queue, job) for queue in queues} if reasons is None else dict(reasons)
    if preferred:
        foreign = {name: why or "the site has others for such jobs" for name, why in reasons.items()}
        unlisted = dict.fromkeys(preferred, "the batch system does not list it")
        reasons = {**foreign, **unlisted, **{name: reasons[name] for name in preferred if name in reasons}}
    fitting = [queue for queue in queues if not reasons[queue.name]]
    fitting.sort(key=lambda queue: preferred.index(queue.name) if preferred else _tightness(queue))
    if not fitting:
        raise InvalidRequest(
            "queue", f"{AUTO!r} finds none that takes this job: {_listed(reasons)}. Ask for less, or name a queue"
        )
    best = fitting[0]
    if len(queues) == 1:
        return Choice(queue=best.name, reason="the only one")
    first = "the site's first" if preferred else "the tightest"
    reason = f"{first} of those that take the job" if len(fitting) > 1 else "the only one that takes the job"
    if facts := describe(best):
        reason += f" ({facts})"
    words = []
    if others := [queue.name for queue in fitting[1:]]:
        words.append(f"others that do: {_names(others)}")
    if refused := {name: why for name, why in reasons.items() if why}:
        words.append(f"not {_listed(refused)}")
    if unknown := list(_unknown(best, job)):
        words.append(f"not known of it: {', '.join(unknown)}")
    return Choice(queue=best.name, reason=reason, details=words)


def why_not(queue: Queue, job: Job) -> str:
    """Why a queue does not take a job of these resources, in words; empty if it does, as far as is known."""
    asked, each = job.resources, {"cores": "cores", "memory": "memory", "gpus": "GPUs"}
    if not queue.accepts_jobs:
        return "it takes no jobs"
    if not queue.starts_jobs:
        return "it starts no jobs now"
    if queue.accounts and job.account not in queue.accounts:
        whose = "its jobs need an account" if job.account is None else "it is closed to your account"
        return f"{whose}; account= may be {_names(queue.accounts)}"
    walltime = None if "walltime" in job.skip else job.walltime
    if walltime is not None and queue.max_walltime is not None and walltime > queue.max_walltime:
        return f"walltime= is at most {in_words(queue.max_walltime)}"
    for name, word in each.items():
        wanted = 0 if name in job.skip else getattr(asked, name) or 0
        has, most = getattr(queue, name), getattr(queue, f"max_{name}")
        if has is not None and wanted > has:
            return f"no {word}" if not has else f"{name}= is at most {_amount(name, has)} a node"
        if most is not None and wanted * asked.nodes > most:
            return f"no {word}" if not most else f"a job has at most {_amount(name, most)} of {word} in all"
    if "nodes" in job.skip:
        return ""
    for limit in (queue.nodes, queue.max_nodes):
        if limit is not None and asked.nodes > limit:
            return f"nodes= is at most {limit}"
    if queue.min_nodes is not None and asked.nodes < queue.min_nodes:
        return f"nodes= is at least {queue.min_nodes}"
    return ""


def describe(queue: Queue) -> str:
    """What is known of a queue's limits: ``at most 4 h, 64 cores and 256 GB a node``; empty if nothing is."""
    node = [counted(queue.cores, "core")] if queue.cores is not None else []
    node += [_amount("memory", queue.memory)] if queue.memory is not None else []
    node += [counted(queue.gpus, "GPU")] if queue.gpus else []
    parts = [in_words(queue.max_walltime)] if queue.max_walltime is not None else []
    *most, last = node or [""]
    parts += [f"{', '.join(most)}{' and ' if most else ''}{last} a node"] if node else []
    return f"at most {', '.join(parts)}" if parts else ""


def limits_of_job(queue: Queue) -> str:
    """What one job may have on all of its nodes together: ``2 to 8 nodes, 256 cores``; empty if nothing is known."""
    least, most = queue.min_nodes or 1, queue.max_nodes
    parts = []
    if most is not None:
        parts.append(f"{least} to {counted(most, 'node')}" if least > 1 else counted(most, "node"))
    elif least > 1:
        parts.append(f"{least} nodes or more")
    parts += [counted(queue.max_cores, "core")] if queue.max_cores is not None else []
    parts += [_amount("memory", queue.max_memory)] if queue.max_memory is not None else []
    parts += [counted(queue.max_gpus, "GPU")] if queue.max_gpus is not None else []
    return ", ".join(parts)


def about(job: Job, queues: Sequence[Queue]) -> str:
    """What the queues say of a job that waits: how its own is filled, and which others would take it sooner.

    Nobody is sent to a queue for trials, nor to GPUs that the job does not ask for. Empty if nothing is known.
    """
    own = next((queue for queue in queues if (queue.name == job.queue if job.queue else queue.is_default)), None)
    if own is None:
        return ""
    name = printable(own.name) or "(the only one)"
    if problem := why_not(own, job):
        return f"queue {name!r} does not take such a job: {problem}"
    if own.free_nodes is None:
        return ""
    of = "" if own.nodes is None else f" of {own.nodes}"
    words = f"queue {name!r} has {own.free_nodes}{of} nodes free"
    emptier = [
        f"{queue.name} ({queue.free_nodes} free)"
        for queue in sorted(queues, key=_tightness)
        if queue is not own
        and not why_not(queue, job)
        and not is_for_trials(queue.name)
        and bool(queue.gpus) <= bool(job.resources.gpus)
        and (queue.free_nodes or 0) >= job.resources.nodes
    ]
    if own.free_nodes < job.resources.nodes and emptier:
        words += f"; others that take such jobs have more: {_names(emptier)}"
    return words


def is_for_trials(name: str) -> bool:
    """Whether a queue, by its name, is for trials or for people who wait at a prompt."""
    return _FOR_TRIALS.search(name) is not None


def tightest_first(queues: Iterable[Queue]) -> list[Queue]:
    """Queues in the order in which ``queue="auto"`` takes the first one that takes a job."""
    return sorted(queues, key=_tightness)


def _tightness(queue: Queue) -> tuple[object, ...]:
    def limit(value: int | None) -> float:
        return math.inf if value is None else value

    return (
        is_for_trials(queue.name),
        queue.gpus or 0,
        limit(queue.max_walltime),
        limit(queue.memory),
        limit(queue.cores),
        not queue.is_default,
        -(queue.free_nodes or 0),
        queue.name,
    )


def _unknown(queue: Queue, job: Job) -> Iterator[str]:
    """What the job asks for, and nothing tells whether the queue has it."""
    if queue.cores is None and queue.max_cores is None:
        yield "cores"
    if queue.memory is None and queue.max_memory is None:
        yield "memory"
    if job.resources.gpus and queue.gpus is None and queue.max_gpus is None:
        yield "GPUs"


def _amount(name: str, value: int) -> str:
    return format_bytes(value) if name == "memory" else str(value)


def _listed(reasons: dict[str, str]) -> str:
    return _names([f"{name} ({why})" for name, why in reasons.items()])


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return printable(", ".join(names[:_TOLD]) + more)
