"""How often a batch system is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from corral.domain import JobId, JobState, JobStatus
from corral.watch import CommandBudget, Rhythm, Watch


def test_the_rhythm_is_quick_after_a_change_and_slow_at_rest() -> None:
    """2, 5, 10 and 20 s after a change, then every minute."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    moments = []
    for _ in range(6):
        moments.append(rhythm.due())
        rhythm.polled(moments[-1])
    assert moments == [102.0, 105.0, 110.0, 120.0, 180.0, 240.0]


def test_a_change_starts_the_rhythm_again() -> None:
    """Whatever was polled before it."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    rhythm.polled(102.0)
    rhythm.changed(103.0)
    assert rhythm.due() == 105.0


def test_a_poll_that_comes_late_does_not_catch_up() -> None:
    """After a stall one question is enough, not four."""
    rhythm = Rhythm()
    rhythm.changed(100.0)
    rhythm.polled(150.0)
    assert rhythm.due() == 210.0


def test_a_vanished_worker_asks_at_once() -> None:
    """And only once."""
    rhythm = Rhythm()
    rhythm.changed(0.0)
    rhythm.polled(600.0)
    rhythm.urgent(610.0)
    assert rhythm.due() == 610.0
    assert rhythm.patience() == 0.0
    rhythm.polled(610.0)
    assert rhythm.due() == 670.0


class _Cluster:
    """Somebody who asks."""


RUNNING = JobStatus(state=JobState.RUNNING)


def test_two_clusters_share_one_question() -> None:
    """The second finds its jobs in the answer to the first."""
    questions: list[list[JobId]] = []

    async def ask(ids: list[JobId]) -> Mapping[JobId, JobStatus]:
        questions.append(ids)
        return dict.fromkeys(ids, RUNNING)

    async def both() -> None:
        watch, one, two = Watch(), _Cluster(), _Cluster()
        await watch.poll(two, [JobId("2")], ask, patience=0.0, since=0.0)
        assert await watch.poll(one, [JobId("1")], ask, patience=0.0, since=0.0) == {JobId("1"): RUNNING}
        assert await watch.poll(two, [JobId("2")], ask, patience=30.0, since=0.0) == {JobId("2"): RUNNING}
        assert questions == [[JobId("2")], [JobId("1"), JobId("2")]]
        # What was done after the answer must show in the next one.
        await watch.poll(two, [JobId("2")], ask, patience=30.0, since=time.monotonic())
        assert len(questions) == 3
        watch.forget(one)
        await watch.poll(two, [JobId("2")], ask, patience=0.0, since=0.0)
        assert questions[-1] == [JobId("2")]

    asyncio.run(both())


def test_the_budget_is_shared_by_processes(tmp_path: Path) -> None:
    """Two ledgers on one file are two processes: together they get what one would."""
    one, two = (CommandBudget(3, tmp_path / "ledger.json") for _ in range(2))

    async def ask() -> None:
        await one.wait()
        await two.wait()
        await one.note()
        async with asyncio.timeout(0.3):
            await two.wait()

    started = time.monotonic()
    try:
        asyncio.run(ask())
    except TimeoutError:
        assert time.monotonic() - started < 30
    else:
        raise AssertionError("a fourth command in the minute was let through")


def test_acts_are_never_delayed_by_the_budget(tmp_path: Path) -> None:
    """A cancellation that waits a minute helps nobody; it is only counted."""
    budget = CommandBudget(1, tmp_path / "ledger.json")

    async def act() -> None:
        for _ in range(5):
            await budget.note()

    asyncio.run(asyncio.wait_for(act(), 5))


def test_a_damaged_ledger_is_begun_anew(tmp_path: Path) -> None:
    """It holds nothing worth an error."""
    path = tmp_path / "ledger.json"
    path.write_text("{half a")
    asyncio.run(asyncio.wait_for(CommandBudget(1, path).wait(), 5))
