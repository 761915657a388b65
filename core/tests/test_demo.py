"""What `corral demo` says, and whether it is right."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from corral.cli.demo import NUMBERS, PRIMES, TASKS, primes_between
from corral.cli.stage import Change, Stage, job_table, told
from corral.jobs.record import JobRecord
from corral.plugin.values import JobId, JobState, JobStatus


def change(job: str, before: JobState | None, after: JobState, **more: Any) -> Change:
    return Change(job=JobId(job), before=before, after=JobStatus(state=after, **more))


def printed(*, width: int, is_terminal: bool, rows: Mapping[str, str]) -> list[str]:
    output = io.StringIO()
    stage = Stage(console=Console(file=output, width=width, force_terminal=is_terminal, color_system=None))
    stage.say("a line that is longer than the terminal is wide")
    stage.account(rows.items())
    return output.getvalue().splitlines()


def test_the_same_news_of_many_jobs_is_one_line() -> None:
    """And an end that nobody wished for is red."""
    news = [change(f"7_{index}", None, JobState.PENDING) for index in range(6)]
    news += [change("7_0", JobState.PENDING, JobState.RUNNING, hosts=["n1"])]
    news += [change("7_0", JobState.RUNNING, JobState.RUNNING)]
    news += [change("7_0", JobState.RUNNING, JobState.FAILED, reason="NonZeroExitCode", hosts=["n1"])]
    assert told(news) == [
        ("6 jobs (7_0 to 7_5): submitted", "yellow"),
        ("job 7_0: running on n1", "green"),
        ("job 7_0: failed (NonZeroExitCode) on n1", "red"),
    ]


def test_lines_for_a_file_are_not_folded() -> None:
    """Nor padded: what is written to a log is read by tools."""
    [line, blank, row] = printed(width=40, is_terminal=False, rows={"jobs": "3 were submitted: " + 8 * "and so on, "})
    assert line.endswith("s  a line that is longer than the terminal is wide")
    assert not blank
    assert row.startswith("jobs          3 were submitted: and so on, and so on, ")


def test_an_account_in_a_terminal_keeps_its_columns() -> None:
    [_, _, *rows] = printed(width=40, is_terminal=True, rows={"jobs": 6 * "and so on, "})
    assert len(rows) > 1
    assert all(len(row) <= 40 for row in rows)
    assert all(row.startswith(("jobs  ", "      ")) for row in rows)


@pytest.mark.parametrize("room", [3, 100])
def test_the_table_shows_living_jobs_first(room: int) -> None:
    """As many as there is room for."""
    ended = JobStatus(state=JobState.CANCELLED)
    jobs = [JobRecord(id=JobId(f"1_{index}"), status=ended, ended_at=1.0) for index in range(5)]
    jobs += [JobRecord(id=JobId("2_0"))]
    output = io.StringIO()
    Console(file=output, width=80).print(job_table(jobs, room=room))
    assert "2_0" in output.getvalue()
    assert ("and 3 more" in output.getvalue()) == (room == 3)


def test_primes_are_counted_right() -> None:
    """In parts that fit together; the number of all is known."""
    width = NUMBERS // TASKS
    assert primes_between(0, width) == 148_933
    assert primes_between(0, 2000) == 303
    assert primes_between(0, 1000) + primes_between(1000, 2000) == 303
    assert PRIMES == 98_222_287
