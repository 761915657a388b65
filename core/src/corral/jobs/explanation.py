"""Why a job waits, and when it may start: what `cluster.explain` and `corral explain` say."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Sequence

from attrs import field, frozen

from corral.jobs.record import JobRecord, describe_end, describe_final
from corral.plugin.values import JobState, JobStatus
from corral.text.printable import printable, printable_lines

#: The beginning of an explanation which says that a job will never start.
NEVER = "it will never start"
#: The beginning of one which says that somebody must release the job: no other queue would help.
HELD = "it is held"
#: What people read is not wider, as far as words allow (columns).
_WIDTH = 80


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
        head, why, *more = self._parts()
        # What begins with an argument begins as that is written.
        more = [part if part.startswith("queue=") else f"{part[0].upper()}{part[1:]}" for part in more]
        return printable_lines(". ".join([f"{head}: {why}", *more]))

    def in_lines(self) -> str:
        """The same for a terminal: whose job it is, and below, what there is to say, a line or more for each."""
        head, *parts = self._parts()
        wrapped = [
            textwrap.fill(
                part, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
                break_on_hyphens=False,
            )
            for part in parts
        ]  # fmt: skip
        return printable_lines("\n".join([f"{head}:", *wrapped]))

    def _parts(self) -> Sequence[str]:
        """Whose job it is, why it waits, and what else is known."""
        whose = f" of group {self.group!r}" if self.group else ""
        of = f" of cluster {self.cluster!r}" if self.cluster else ""
        # "is pending: it will never start: …" would be a contradiction to a hurried reader, "is held: it is held" a
        # stutter.
        says_so = self.never_starts or self.why.startswith(HELD)
        state = "" if says_so or self.state is None else f" is {self.state.value}"
        head = f"job {self.job}{whose}{of}{state}" if self.job else f"no job{whose}{of} is in the queue"
        return [head, self.why, *filter(None, (self.queues, self.choice and f'queue="auto" chose {self.choice}'))]


class Explanations(tuple[Explanation, ...]):
    """Explanations that are shown as sentences."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(each.in_lines() for each in self) or "no job is wanted"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        # Not before somebody looks.
        from corral.jobs.notebook import explanations_html

        return explanations_html(self)


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


def how_it_is(status: JobStatus) -> str:
    """A sentence about a job that does not wait, from what the batch system says of it."""
    if status.state.is_final:
        return describe_final(status)
    parts = [
        f"since {moment(status.started)}" if status.started is not None else "",
        f"on {' '.join(status.hosts)}" if status.hosts else "",
        f"until {moment(status.ends)} at most" if status.ends is not None else "",
        status.reason if status.reason != "None" else "",
    ]
    return ", ".join(filter(None, parts)) or "the batch system says no more"


def how_it_stands(record: JobRecord) -> str:
    """A sentence about a job of this process that does not wait."""
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
