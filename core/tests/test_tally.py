"""What has happened is counted once, in few words, and never less than before."""

from __future__ import annotations

import pytest
from attrs import evolve

from corral.batch.runner import Runner
from corral.batch.timings import OTHERS, PROGRAMS, CommandTimes, Histogram
from corral.cluster.tally import Tally
from corral.errors import CommandError
from corral.jobs.record import JobFailure, JobRecord, Outcome, StopReason
from corral.jobs.worker_failures import Cause, WorkerFailure
from corral.plugin.values import Command, JobId, JobState, JobStatus
from corral.view.overview import FailureCount, Totals

JOB = JobRecord(id=JobId("7_0"), group="gpu", submitted_at=10.0)
FAILED = evolve(JOB, status=JobStatus(state=JobState.FAILED, exit_code=3, hosts=("n1",)), ended_at=20.0)


async def test_commands_are_counted_with_their_times_and_failures() -> None:
    """By program, without its folder; also those that cannot be found, and those that take too long."""
    runner = Runner()
    await runner.run(Command(("/bin/true",)))
    for command in (Command(("false",)), Command(("sleep", "30"), timeout=0.1), Command(("no-such-program",))):
        with pytest.raises(CommandError):
            await runner.run(command)
    assert {program: sum(times.counts) for program, times in runner.times.times.items()} == {
        "true": 1, "false": 1, "sleep": 1, "no-such-program": 1,
    }  # fmt: skip
    assert runner.times.failed == {"true": 0, "false": 1, "sleep": 1, "no-such-program": 1}
    assert 0.1 <= runner.times.times["sleep"].seconds < 20


def test_programs_without_end_are_few_numbers() -> None:
    """A plugin that names a file of its own each time."""
    times = CommandTimes()
    for number in range(10 * PROGRAMS):
        times.ran(f"/tmp/wrapper-{number}", 0.1, has_failed=True)
    assert len(times.times) == PROGRAMS + 1
    assert times.failed[OTHERS] == 9 * PROGRAMS


def test_what_is_as_long_as_a_bound_is_below_it() -> None:
    """As Prometheus has it: less or equal."""
    histogram = Histogram(bounds=(1.0, 5.0))
    for seconds in (0.0, 1.0, 1.1, 5.0, 6.0):
        histogram.add(seconds)
    assert histogram.counts == [2, 2, 1]
    assert histogram.seconds == pytest.approx(13.1)


def test_a_group_of_which_nothing_has_happened_has_all_numbers() -> None:
    """They are 0, and will not begin in the middle."""
    tally = Tally()
    tally.know("gpu")
    found = tally.totals()["gpu"]
    assert (found.attempted, found.waits.count, found.ended) == (0, 0, {})
    assert found.submissions == Totals().submissions
    tally.has_come(evolve(JOB, connected_at=40.0))
    assert tally.totals()["gpu"].waits.bounds == found.waits.bounds
    assert tally.totals()["gpu"].waits.seconds == 30.0


def test_ends_are_counted_by_what_they_mean() -> None:
    """What somebody asked for is wanted, also if it left by itself; what left near its walltime, in good time."""
    done = JobStatus(state=JobState.COMPLETED)
    tally = Tally()
    tally.have_ended([
        FAILED,
        evolve(JOB, status=done, ended_at=20.0, connected_at=12.0, leaving="walltime"),
        evolve(JOB, status=done, ended_at=20.0, connected_at=12.0, leaving="retire", stop_reason=StopReason.SURPLUS),
    ])  # fmt: skip
    assert tally.totals()["gpu"].ended == {"died": 1, "in good time": 1, "wanted": 1}


@pytest.mark.parametrize(
    ("cause", "counted"),
    [
        (Cause.told_by({"memory_limit": 2**31, "memory_used": 2**31 + 7}), "memory limit"),
        (Cause.told_by({"module": "a_lab_s"}), "missing module"),
        (Cause.told_by({"exit_code": 3}), "exit code"),
        (Cause.told_by({"exit_code": -11}), "signal"),
        (Cause.told_by({"words": "its job said something of its own"}), "other"),
    ],
)
def test_deaths_of_workers_are_a_few_words(cause: Cause, counted: str) -> None:
    """Whatever limits, names and codes are told of them."""
    tally = Tally()
    for _ in range(2):
        tally.failed([WorkerFailure(job=JOB, worker="7_0-0", cause=cause.words)])
    assert tally.totals()["gpu"].failures == (FailureCount(what="worker", outcome="died", cause=counted, count=2),)


def test_failures_of_jobs_are_counted_by_state() -> None:
    """Not by host or exit code: of those there is any number."""
    tally = Tally()
    others = evolve(FAILED, status=evolve(FAILED.status, exit_code=4, hosts=("n2",)))
    tally.failed([JobFailure(job=each, outcome=Outcome.DIED) for each in (FAILED, others)])
    assert tally.totals()["gpu"].failures == (FailureCount(what="job", outcome="died", cause="failed", count=2),)
