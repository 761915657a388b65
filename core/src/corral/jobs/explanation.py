"""Why a job waits, and when it may start: what `cluster.explain` and `corral explain` say."""

from __future__ import annotations

import time
from collections.abc import Iterable

from attrs import field, frozen

from corral.jobs.record import JobRecord, describe_end
from corral.plugin.values import JobState, JobStatus
from corral.text.printable import printable, printable_lines

#: The beginning of an explanation which says that a job will never start.
NEVER = "it will never start"


@frozen(kw_only=True)
class Explanation:
    """Why one job waits; or, if it does not, how it stands."""

    #: Its id; empty: no job of the group is in the queue.
    job: str = ""
    #: Its cluster and its group, as far as they are known.
    cluster: str = ""
    group: str = ""
    state: JobState | None = None
    #: In a person's words; never empty.
    why: str = field(converter=printable)
    #: When the batch system expects to start it, in seconds since the epoch; None: it does not say.
    expected_start: float | None = None
    #: It asks for something that it cannot get.
    never_starts: bool = False
    #: What is known of its queue, and of others that would take it; empty: nothing.
    queues: str = field(default="", converter=printable)
    #: Why ``queue="auto"`` came to its queue; empty if that was not said.
    choice: str = field(default="", converter=printable)

    def __str__(self) -> str:
        whose = f" of group {self.group!r}" if self.group else ""
        of = f" of cluster {self.cluster!r}" if self.cluster else ""
        # "pending: it will never start: …" would be a contradiction to a hurried reader.
        state = "" if self.state is None or self.never_starts else f" is {self.state.value}"
        head = f"job {self.job}{whose}{of}{state}" if self.job else f"no job{whose}{of} is in the queue"
        text = f"{head}: {self.why}"
        if self.queues:
            text += f". {self.queues[0].upper()}{self.queues[1:]}"
        if self.choice:
            text += f'. queue="auto" chose {self.choice}'
        return printable_lines(text)


class Explanations(tuple[Explanation, ...]):
    """Explanations that are shown as sentences."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no job is wanted"

    def __repr__(self) -> str:
        return str(self)


def why_it_waits(status: JobStatus, told: str) -> str:
    """A sentence, from what was polled and from what `explain_pending` told, which may be nothing."""
    if told:
        return told
    if status.hopeless:
        return f"{NEVER}: {status.hopeless}" + (f" ({status.reason})" if status.reason else "")
    words = status.reason if status.reason not in ("", "None") else "the batch system does not say why"
    if status.expected_start is not None:
        words += f"; it is expected to start at {moment(status.expected_start)}"
    return words


def how_it_stands(record: JobRecord) -> str:
    """A sentence about a job that does not wait."""
    if record.has_ended:
        return describe_end(record)
    where = f" on {' '.join(record.hosts)}" if record.hosts else ""
    return f"{record.condition}{where}, {len(record.workers)} of {record.expected_workers} workers are here"


def to_be_explained(jobs: Iterable[JobRecord]) -> list[JobRecord]:
    """The job of each group that has waited longest: the others wait for the same."""
    first: dict[str, JobRecord] = {}
    for record in jobs:
        if record.is_capacity and record.state.is_waiting:
            first.setdefault(record.group, record)
    return list(first.values())


def moment(seconds: float) -> str:
    """A moment of the wall clock, given in seconds since the epoch, as people here write it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
