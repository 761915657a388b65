"""Columns of the page of jobs: one bar for each job, whose parts follow each other; and what has not changed stays."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corral.jobs.record import Outcome
from corral.view import drawing
from corral.view.colours import END, PHASE
from corral.view.drawing import BAR, FAR, LISTED, Drawer, bar, failures_of, groups_of, key, local, waits_of, words_of
from corral.view.overview import FailureView, GroupView, JobView, Overview

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e"
MOMENTS = st.none() | st.floats(0, 2e9)


def job(number: int = 0, **more: Any) -> JobView:
    arguments = {
        "group": "default",
        "phase": "waiting",
        "state": "pending",
        "condition": "pending",
        "submitted": 1000.0,
    }
    return JobView(id=f"7_{number}", **{**arguments, **more})


def parts(view: JobView) -> dict[str, Any]:
    return dict(zip(BAR, bar(view), strict=True))


@given(started=MOMENTS, connected=MOMENTS, leaving=MOMENTS, ended=MOMENTS)
def test_parts_of_a_bar_follow_each_other(**moments: Any) -> None:
    """Whatever is known, and however clocks disagree: no part begins before the one that it follows."""
    found = parts(evolve(job(), **moments))
    edges = [found[name] for name in ("submitted", "started", "connected", "leaving", "ended")]
    assert edges == sorted(edges)
    assert (found["ended"] == FAR) is (moments["ended"] is None)
    assert math.isnan(found["end"]) is (moments["ended"] is None)


def test_a_bar_says_what_is_known() -> None:
    """Phase by phase, and why it ended."""
    found = parts(
        job(
            phase="ended", state="failed", started=1060.0, connected=1065.0, ended=1100.0, outcome="died",
            why="FAILED, exit code 1", hosts=("n1", "n2"), workers=0, expected_workers=1, cores=8, gpus=1,
        )
    )  # fmt: skip
    assert [found[name] for name in ("submitted", "started", "connected", "leaving", "ended")] == [
        local(moment) for moment in (1000.0, 1060.0, 1065.0, 1100.0, 1100.0)
    ]
    assert (found["stands"], found["waited"], found["hosts"]) == ("ended: died", "1 min", "n1 n2")
    assert found["has"] == "0 of 1 worker, 8 cores, 1 GPU"
    assert found["end_colour"] == END["died"].light
    assert "never started" in parts(job(phase="ended", ended=1100.0))["waited"]


def test_times_are_those_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bokeh knows no zones: what it shows is what clocks here show."""
    import time

    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert local(0.0) == (5 * 3600 + 45 * 60) * 1000 - 15 * 60 * 1000  # until 1986 it was a quarter less
        assert drawing.clock(1e9) == "2001-09-09 07:31:40"
        assert time.tzname[0] in key()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_has_not_changed_is_the_same_object() -> None:
    """So that each viewer is told of what has."""
    jobs = tuple(job(number) for number in range(3))
    overview = Overview(
        name="n", backend="b", moment=2000.0, jobs=jobs, failures=(FailureView(job="7_0", group="g", cause="c"),)
    )
    drawer = Drawer()
    first = drawer.draw(overview)
    assert drawer.draw(overview) is first
    second = drawer.draw(evolve(overview, moment=2001.0, jobs=(jobs[0], evolve(jobs[1], reason="Priority"), jobs[2])))
    assert [second.bars[each.id] is first.bars[each.id] for each in jobs] == [True, False, True]
    assert second.failures is first.failures
    assert second.now - first.now == 1000


def test_each_end_and_each_phase_has_a_colour_and_is_explained() -> None:
    """A word without a colour would be drawn as text is."""
    assert {outcome.value for outcome in Outcome} <= set(END)
    for word in (*PHASE, *(f"ended: {outcome.value}" for outcome in Outcome)):
        assert word in key().replace("&nbsp;", " ")


def test_waits_are_of_jobs_that_started_and_of_the_one_that_waits_longest() -> None:
    """Eight of ten, the middle, and what goes on; a group without any is left out."""
    started = tuple(job(number, phase="working", started=1000.0 + number) for number in range(1, 101))
    groups = (GroupView(name="default", waiting_since=1500.0), GroupView(name="idle"))
    found = waits_of(Overview(name="n", backend="b", moment=2000.0, jobs=(*started, job(0)), groups=groups))
    assert found["group"] == ["default"]
    assert found["middle"] == [50.5]
    assert (round(found["low"][0]), round(found["high"][0])) == (10, 91)
    assert found["now"] == [500.0]
    assert "100 have started" in found["words"][0]


def test_of_one_wait_alone_the_parts_are_that_one() -> None:
    """And an axis of logarithms has no place for none."""
    alone = Overview(
        name="n", backend="b", moment=2.0, groups=(GroupView(name="default"),), jobs=(job(1, started=1000.0),)
    )
    found = waits_of(alone)
    assert (found["low"], found["middle"], found["high"]) == ([1.0], [1.0], [1.0])


def test_the_latest_failures_come_first() -> None:
    """So many, and no more."""
    failures = tuple(FailureView(job=str(number), group="g", cause="c", moment=1.0) for number in range(LISTED + 50))
    found = failures_of(Overview(name="n", backend="b", moment=2.0, failures=failures))
    assert found["what"][:2] == [f"job {LISTED + 49}", f"job {LISTED + 48}"]
    assert len(found["what"]) == LISTED


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)


def test_hostile_words_are_text() -> None:
    """In HTML they are escaped; in columns, which Bokeh escapes, nothing hides."""
    view = job(reason=HOSTILE, why=HOSTILE, hosts=(HOSTILE,), group=HOSTILE)
    group = GroupView(name=HOSTILE, wanted=3, trouble=HOSTILE, backend=HOSTILE)
    failure = FailureView(job="1", group=HOSTILE, cause=HOSTILE, hint=HOSTILE * 100, hosts=(HOSTILE,))
    overview = Overview(name=HOSTILE, backend=HOSTILE, moment=2.0, jobs=(view,), groups=(group,), failures=(failure,))
    tags = _Tags()
    tags.feed(words_of(overview))
    assert tags.found <= {"b", "br", "code"}
    drawn = Drawer().draw(overview)
    for columns in (drawn.groups, drawn.failures, {"bars": list(drawn.bars["7_0"])}):
        for each in (value for values in columns.values() for value in values if isinstance(value, str)):
            assert each.isprintable()
            assert len(each) <= drawing.LONGEST


def test_a_page_without_jobs_says_why() -> None:
    """What is wanted, and what keeps it from coming."""
    none = Overview(name="n", backend="b", moment=2.0, groups=(GroupView(name="default"),))
    assert "No job is wanted: <code>cluster.scale(10)</code>" in words_of(none)
    waits = evolve(none, groups=(GroupView(name="gpu", wanted=4, trouble="queue 'x' is closed"),))
    assert "0 of 4 wanted jobs are there. queue &#x27;x&#x27; is closed" in words_of(waits)


def test_numbers_by_group_are_the_overview_s() -> None:
    """Those that leave in any way are one number."""
    jobs = {"waiting": 1, "starting": 2, "working": 3, "draining": 4, "cancelling": 5}
    group = GroupView(name="g", jobs=jobs, workers=3, wanted=2, workers_per_job=2, because="2 wanted")
    found = groups_of(Overview(name="n", backend="slurm", moment=2.0, groups=(group,)))
    assert [found[name] for name in ("waiting", "starting", "working", "leaving")] == [[1], [2], [3], [9]]
    assert (found["workers"], found["says"], found["backend"]) == (["3 of 4"], ["2 wanted"], ["slurm"])
