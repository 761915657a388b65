"""The words in which a wait is explained."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from attrs import evolve

from corral.cli import patience
from corral.cluster.registry import AskedLine
from corral.jobs.explanation import Explanation, Explanations, how_it_is, why_it_waits
from corral.plugin.values import Job, JobState, JobStatus, Resources
from corral.remote.messages import to_explanations, to_plain


def test_an_explanation_is_a_sentence() -> None:
    """Whose job, why, what is known of queues, and how it came to its own."""
    found = Explanation(
        job="77_0", cluster="c", group="gpu", state=JobState.PENDING, why="others run first",
        queues="queue 'a' is full", choice="queue 'a': the only one",
    )  # fmt: skip
    assert str(found) == (
        "job 77_0 of group 'gpu' of cluster 'c' is pending: others run first. Queue 'a' is full. "
        "queue=\"auto\" chose queue 'a': the only one"
    )
    never = Explanation(job="77_0", state=JobState.PENDING, why="it will never start: no", never_starts=True)
    assert str(never) == "job 77_0: it will never start: no"
    without = Explanation(cluster="c", group="gpu", why="refused")
    assert str(without) == "no job of group 'gpu' of cluster 'c' is in the queue: refused"
    held = Explanation(job="77_0", state=JobState.HELD, why="it is held: 'scontrol release' releases it")
    assert str(held) == "job 77_0: it is held: 'scontrol release' releases it"
    assert str(Explanations(())) == "no job is wanted"


def test_explanations_are_read_in_a_terminal() -> None:
    """Each has its lines, of which none is wider than 80 columns."""
    found = Explanation(
        job="8_3", group="default", state=JobState.PENDING, choice="queue 'short': the only one",
        why="it is next, and waits for nodes to become free (Resources); Slurm expects to start it at "
        "2026-11-29 15:48:24",
    )  # fmt: skip
    assert repr(Explanations([found, evolve(found, job="9", group="", why="Priority", choice="")])) == (
        "job 8_3 of group 'default' is pending:\n"
        "  it is next, and waits for nodes to become free (Resources); Slurm expects to\n"
        "    start it at 2026-11-29 15:48:24\n"
        "  queue=\"auto\" chose queue 'short': the only one\n"
        "job 9 is pending:\n"
        "  Priority"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (JobStatus(state=JobState.RUNNING, hosts=["n1", "n2"]), "on n1 n2"),
        (JobStatus(state=JobState.RUNNING, started=0.0, ends=60.0), "since 19.*, until 19.* at most"),
        (JobStatus(state=JobState.SUSPENDED, reason="Gang"), "Gang"),
        (JobStatus(state=JobState.RUNNING, reason="None"), "the batch system says no more"),
        (JobStatus(state=JobState.FAILED, exit_code=3, hosts=["n1"], started=0.0), "FAILED, exit code 3, on n1"),
    ],
)
def test_a_job_that_does_not_wait_is_described(status: JobStatus, words: str) -> None:
    """From what the batch system says of it."""
    assert re.fullmatch(words.replace("19", r"(19|20)\d\d-"), how_it_is(status))


@pytest.mark.parametrize(
    ("status", "told", "words"),
    [
        ({"reason": "Priority"}, "others are before it (Priority)", "others are before it (Priority)"),
        ({"reason": "Priority"}, "", "Priority"),
        ({}, "", "the batch system does not say why"),
        ({"reason": "Priority", "expected_start": 0.0}, "", "Priority; it is expected to start at 19"),
        ({"reason": "R", "hopeless": "see memory="}, "", "it will never start: see memory= (R)"),
    ],
)
def test_where_nothing_is_told_the_polled_reason_serves(status: dict[str, Any], told: str, words: str) -> None:
    """Some batch systems have no more to say."""
    assert why_it_waits(JobStatus(state=JobState.PENDING, **status), told).startswith(words)


def test_explanations_travel_as_plain_data() -> None:
    """From the engine's process to a handle."""
    found = Explanations([Explanation(job="1", state=JobState.HELD, why="it is held", expected_start=1.5)])
    assert to_explanations(json.loads(json.dumps(to_plain(tuple(found))))) == found


def test_what_a_group_asks_for_is_kept_in_the_registry() -> None:
    """For whoever explains a job of another process."""
    job = Job(
        name="asked", command=("true",), queue="q", account="a", walltime=60, skip=("mem",),
        resources=Resources(nodes=2, cores=3, memory=4, gpus=1),
    )  # fmt: skip
    assert AskedLine.of(job).job() == job


def test_nobody_sits_before_a_silent_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command budget may take a minute; an answer that comes at once needs no words."""

    async def answer(*, is_slow: bool) -> str:
        said = ""
        while is_slow and not said:
            await asyncio.sleep(0)
            said = capsys.readouterr().err
        return said

    assert patience.ask(answer(is_slow=False)) == capsys.readouterr().err == ""
    monkeypatch.setattr(patience, "SILENT_FOR", 0.0)
    assert "room in your command budget" in patience.ask(answer(is_slow=True))
