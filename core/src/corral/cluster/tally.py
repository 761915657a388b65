"""Counts what happens to a cluster's jobs, from its beginning: what is forgotten of jobs still counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import define, field

from corral.batch.client import BatchSystem
from corral.batch.timings import Histogram
from corral.jobs.record import JobFailure, JobRecord, Outcome, outcome
from corral.jobs.worker_failures import WorkerFailure
from corral.view.overview import SUBMISSIONS, CommandCount, FailureCount, Spread, Totals

#: Bounds of how long jobs wait (s): from at once to three days.
WAIT_BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 259200.0)
#: Words of a worker's death, and what it is counted as; what begins with none of them is "other".
_DEATHS = (
    ("over the memory limit", "memory limit"), ("the job's Python has no module", "missing module"),
    ("exit code", "exit code"), ("signal", "signal"),
)  # fmt: skip


@define
class _GroupTally:
    attempted: int = 0
    submissions: Counter[str] = field(factory=Counter)
    submitted: int = 0
    waits: Histogram = field(factory=lambda: Histogram(bounds=WAIT_BOUNDS))
    ended: Counter[str] = field(factory=Counter)
    #: By what failed, outcome and cause.
    failures: Counter[tuple[str, str, str]] = field(factory=Counter)


@define
class Tally:
    """Changed on the event loop alone; may be read from any thread."""

    _groups: dict[str, _GroupTally] = field(factory=dict)

    def _of(self, group: str) -> _GroupTally:
        return self._groups.setdefault(group, _GroupTally())

    def know(self, group: str) -> None:
        """A group is there, and nothing has happened yet."""
        self._of(group)

    def attempted(self, group: str) -> None:
        """A submission was begun."""
        self._of(group).attempted += 1

    def ended(self, group: str, how: str, *, jobs: int = 0) -> None:
        """A submission has ended, as one of `SUBMISSIONS` says; so many jobs were taken."""
        counts = self._of(group)
        counts.submissions[how] += 1
        counts.submitted += jobs

    def has_come(self, record: JobRecord) -> None:
        """A job got its first worker."""
        if record.connected_at is not None:
            self._of(record.group).waits.add(record.connected_at - record.submitted_at)

    def have_ended(self, records: Iterable[JobRecord]) -> None:
        """Jobs have ended."""
        for record in records:
            meaning = outcome(record)
            by_itself = meaning is not Outcome.WANTED and record.left_in_good_time
            how = "in good time" if by_itself else meaning.value
            self._of(record.group).ended[how] += 1

    def failed(self, failures: Iterable[JobFailure | WorkerFailure]) -> None:
        """Jobs ended without being asked to, or workers died."""
        for failure in failures:
            kind = ("job" if isinstance(failure, JobFailure) else "worker", failure.outcome.value, _cause(failure))
            self._of(failure.job.group).failures[kind] += 1

    def totals(self) -> dict[str, Totals]:
        """What was counted so far, by group."""
        return {name: _totals(counts) for name, counts in list(self._groups.items())}


def _cause(failure: JobFailure | WorkerFailure) -> str:
    """One of a few words: hosts, codes and limits would make a series of each failure."""
    if isinstance(failure, JobFailure):
        return failure.job.status.state.value
    return next((word for begins, word in _DEATHS if failure.cause.startswith(begins)), "other")


def _totals(counts: _GroupTally) -> Totals:
    return Totals(
        attempted=counts.attempted,
        submissions={how: counts.submissions[how] for how in SUBMISSIONS},
        submitted=counts.submitted,
        waits=_spread(counts.waits),
        ended=dict(counts.ended),
        failures=tuple(
            FailureCount(what=what, outcome=meaning, cause=cause, count=count)
            for (what, meaning, cause), count in list(counts.failures.items())
        ),
    )


def _spread(histogram: Histogram) -> Spread:
    return Spread(bounds=tuple(histogram.bounds), counts=tuple(histogram.counts), seconds=histogram.seconds)


def commands_of(systems: Sequence[BatchSystem]) -> tuple[CommandCount, ...]:
    """What these batch systems were asked."""
    return tuple(
        CommandCount(
            backend=batch.backend, program=program, times=_spread(times), failed=batch.runner.times.failed[program]
        )
        for batch in systems
        for program, times in list(batch.runner.times.times.items())
    )
