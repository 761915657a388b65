"""What a journal says is what there was; what was damaged is passed over, and said."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from attrs import asdict, evolve, fields
from hypothesis import given
from hypothesis import strategies as st
from past_clusters import BEGAN, HOSTILE, UUID, history

from corral.errors import UnreadableJournal
from corral.view.history import History, last_sample, read_journal
from corral.view.journal import FULL, INTERVAL, LARGEST, SILENCE, Head, Pen, encoded
from corral.view.overview import FailureView, GroupView, JobView, Load, Overview

HEAD = Head(name="c", uuid=UUID, backend="slurm", began=BEGAN)


def job(id_: str = "1", **more: Any) -> JobView:
    shown = {"group": "g", "phase": "waiting", "state": "pending", "condition": "pending", "submitted": BEGAN, **more}
    return JobView(id=id_, **shown)


def seen(after: float, *jobs: JobView, workers: int = 0, **more: Any) -> Overview:
    """A cluster so many seconds after it began."""
    given = {"groups": (GroupView(name="g", wanted=2),), **more}
    moment = BEGAN + after
    return Overview(name="c", backend="slurm", moment=moment, jobs=jobs, load=Load(workers=workers), **given)


class Written:
    """A journal in memory."""

    def __init__(self, size: int = 0) -> None:
        self.pen, self.raw, self.size = Pen(), encoded([HEAD.to_line()], 0), size

    def see(self, overview: Overview, *, is_last: bool = False) -> list[dict[str, Any]]:
        """Write what is new of this; returns the lines."""
        news = self.pen.news(overview, self.size + len(self.raw), is_last=is_last)
        self.pen.written(news)
        self.raw += encoded(news.lines, LARGEST)
        return news.lines

    def read(self) -> History:
        return read_journal(self.raw)


def kinds(lines: list[dict[str, Any]]) -> list[str]:
    return [next(name for name in line if name != "t") for line in lines]


# --- what is written is read ------------------------------------------------------------------------------------


def test_all_of_an_overview_comes_back() -> None:
    """Every field of jobs, groups and failures, whatever is in them."""
    past = history(40, text="\x1b \ud800 \u202e </script>")
    written = Written()
    written.see(past.overview, is_last=True)
    found = json.loads(json.dumps(asdict(written.read().overview)))
    wanted = json.loads(json.dumps(asdict(past.overview)))
    for name in ("jobs", "failures"):
        for one, other in zip(found[name], wanted[name], strict=True):
            assert one == near(other)
    for one, other in zip(found["groups"], wanted["groups"], strict=True):
        assert {**one, "jobs": {}} == near({**other, "jobs": {}})


def near(value: Any) -> Any:
    """The same but for what rounding takes from a moment."""
    if isinstance(value, dict):
        return {name: near(each) for name, each in value.items()}
    return pytest.approx(value, abs=0.01) if isinstance(value, float) else value


def test_only_what_has_changed_is_written() -> None:
    """Of each job its new fields; of a cluster of which nothing changes nothing at all."""
    written = Written()
    written.see(seen(0, job("1"), job("2")))
    assert written.see(seen(1, job("1"), job("2"))) == []
    started = job("1", phase="starting", state="running", condition="running", started=BEGAN + 2)
    [line] = written.see(seen(2, started, job("2")))
    assert line["job"] == {"id": "1", "group": "g", "phase": "starting", "state": "running", "condition": "running",
                           "started": BEGAN + 2}  # fmt: skip
    assert [each.phase for each in written.read().overview.jobs] == ["starting", "waiting"]


def test_what_changes_all_the_time_is_written_with_the_rest() -> None:
    """An expected start that moves with every answer of the batch system would fill the disk."""
    written = Written()
    written.see(seen(0, job("1")))
    assert written.see(seen(1, job("1", expected_start=BEGAN + 50, reason="Priority"))) == []
    written.see(seen(2, job("1", expected_start=BEGAN + 60, reason="Resources", phase="cancelling")))
    [found] = written.read().overview.jobs
    assert (found.reason, found.expected_start) == ("Resources", BEGAN + 60)


def test_workers_are_written_when_they_change_and_hours_now_and_then() -> None:
    """The series of a report."""
    written = Written()
    used = (GroupView(name="g", wanted=2, core_hours={"busy": 1.0}),)
    written.see(seen(0))
    assert kinds(written.see(seen(5, workers=1))) == ["sample"]
    assert written.see(seen(6, workers=1, groups=used)) == []
    assert kinds(written.see(seen(5 + INTERVAL, workers=1, groups=used))) == ["group", "sample"]
    assert written.see(seen(6 + 2 * INTERVAL, workers=1, groups=used)) == [], "nothing has changed"
    assert kinds(written.see(seen(6 + INTERVAL + SILENCE, workers=1, groups=used))) == ["sample"], "it lives"
    assert [(each.workers, each.core_hours) for each in written.read().samples] == [(0, 0), (1, 0), (1, 1), (1, 1)]


def test_jobs_that_the_engine_has_forgotten_are_remembered() -> None:
    """And counted; what a group that was removed has used, too."""
    written = Written()
    ended = job("1", phase="ended", outcome="lost", ended=BEGAN + 9)
    written.see(seen(0, ended, groups=(GroupView(name="g", wanted=1, core_hours={"busy": 3.0}),)))
    written.see(seen(1, groups=()))
    written.see(seen(2, groups=()), is_last=True)
    found = written.read()
    assert [each.id for each in found.overview.jobs] == ["1"]
    [group] = found.overview.groups
    assert (group.ended, group.failed, group.wanted, group.core_hours) == (1, 1, 0, {"busy": 3.0})
    assert found.is_closed


def test_jobs_of_two_batch_systems_may_have_one_id() -> None:
    """They are of two groups."""
    written = Written()
    written.see(seen(0, job("1", group="a"), job("1", group="b")))
    assert sorted(each.group for each in written.read().overview.jobs) == ["a", "b"]


def test_a_failure_is_there_once() -> None:
    """Also where a journal was removed, and begun anew."""
    written = Written()
    failure = FailureView(job="1", group="g", cause="x", moment=BEGAN + 1.0123)
    written.see(seen(0, failures=(failure,)))
    written.see(seen(1, failures=(failure,)))
    assert written.raw.count(b"failure") == 1 + written.raw.count(b"failures")
    written.pen.forget()
    written.see(seen(2, failures=(failure,)))
    assert len(written.read().with_present(seen(3, failures=(failure,))).overview.failures) == 1


def test_what_there_is_now_is_more_than_what_was_written() -> None:
    """A report of a living cluster has both."""
    written = Written()
    written.see(seen(0, job("1", phase="ended", outcome="lost"), job("2")))
    found = written.read().with_present(seen(1, job("2", phase="working"), job("3"), workers=1)).overview
    assert [(each.id, each.phase) for each in found.jobs] == [("1", "ended"), ("2", "working"), ("3", "waiting")]
    assert (found.workers, found.groups[0].failed, found.groups[0].living) == (1, 1, 2)


def test_nothing_by_which_one_gets_in_is_written() -> None:
    """The dashboard's address has its secret."""
    written = Written()
    written.see(evolve(seen(0), dashboard="http://127.0.0.1:1/secret/status", scheduler="tls://node1:8786"))
    assert b"secret" not in written.raw
    assert b"tls:" not in written.raw


# --- bounds -----------------------------------------------------------------------------------------------------


def test_a_long_journal_says_so_and_goes_on_with_ends() -> None:
    """Ends and failures, and how it stood in the end."""
    written = Written(size=FULL)
    written.see(seen(0, job("1"), workers=1))
    assert kinds(written.see(seen(1, job("1", phase="working"), workers=2))) == []
    failure = FailureView(job="1", group="g", cause="x")
    lines = written.see(seen(2, job("1", phase="ended", outcome="lost"), failures=(failure,)))
    assert kinds(lines) == ["job", "failure"]
    assert kinds(written.see(seen(3), is_last=True)) == ["group", "sample", "status"]
    found = written.read()
    assert found.notes == (
        "The journal had become so long (12 MB) that from then on only ends of jobs and failures were written down.",
    )
    assert [each.outcome for each in found.overview.jobs] == ["lost"]


def test_no_journal_is_larger_than_the_largest() -> None:
    """What does not fit is left out; that the cluster closed is always said."""
    lines = [{"t": 1, "job": {"id": str(number)}} for number in range(100)]
    text = encoded([*lines, {"t": 1, "status": "closed"}], 200)
    assert len(text) <= 200
    assert text.splitlines()[-1] == b'{"t":1,"status":"closed"}'
    assert len(text.splitlines()) > 3
    assert encoded([{"status": "closed"}], -5) == b'{"status":"closed"}\n'


@pytest.mark.parametrize(("size", "samples"), [(0, 120), (10 * 2**20 - 10**5, 12)])
def test_the_longer_a_journal_the_more_rarely_it_says_how_the_cluster_stands(size: int, samples: int) -> None:
    """So that a month is in it: of two hours in which only hours change, and of a minute of much coming and going."""
    written = Written(size)
    for minute in range(120):
        written.see(seen(60.0 * minute, groups=(GroupView(name="g", core_hours={"busy": minute / 10}),)))
    assert len(written.read().samples) == samples
    for second in range(120):
        written.see(seen(7200 + second / 2, workers=1 + second % 2))
    assert 0.9 * samples <= len(written.read().samples) - samples <= samples


def test_long_texts_are_cut() -> None:
    """What a batch system or a program prints has no bounds."""
    written = Written()
    failure = FailureView(job="1", group="g", cause="x" * 10**6, log_tail=("y" * 10**6,) * 100)
    written.see(seen(0, job("1", why="z" * 10**6, hosts=("n",) * 10**5), failures=(failure,)))
    assert len(written.raw) < 200_000


# --- damage -----------------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_said() -> None:
    """What kill -9 and a full disk leave."""
    written = Written()
    written.see(seen(0, job("1")))
    written.see(seen(1, job("1", phase="working")))
    found = read_journal(written.raw[:-9])
    assert [each.phase for each in found.overview.jobs] == ["waiting"]
    assert found.notes == ("The last line of the journal is torn: what was being written then is missing.",)
    assert not found.is_closed


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff\xfe", b"[]", b"7", b'"text"', b"{}", b'{"t": "x", "status": "closed"}', b'{"t": NaN, "status": ""}',
        b'{"t": 1, "job": []}', b'{"t": 1, "job": {"id": "1"}}', b'{"t": 1e400, "sample": {}}',
        b'{"t": 1, "sample": {"workers": true}}', b'{"t": 1, "sample": {"workers": 1' + b"0" * 400 + b"}}",
        b'{"t": 1, "failure": {"job": 1}}', b'{"t": 1, "job": {"id": "9", "group": "g", "phase": 3}}',
        b'{"t": 1, "group": {"name": "odd", "jobs": "all"}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_lines_are_passed_over_and_counted(line: bytes) -> None:
    """One bad line does not spoil the others."""
    written = Written()
    written.see(seen(0, job("1")))
    written.raw += line + b"\n"
    written.see(seen(1, job("1", phase="working")))
    found = written.read()
    assert [each.phase for each in found.overview.jobs] == ["working"]
    assert found.notes == ("1 line of the journal is passed over: the file is damaged there.",)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_whatever_is_in_it_it_is_read_or_refused(junk: bytes, at: int) -> None:
    """Nothing but corral's own error comes of it."""
    written = Written()
    written.see(history(3).overview, is_last=True)
    raw = written.raw[:at] + junk + written.raw[at:]
    try:
        found = read_journal(raw)
    except UnreadableJournal:
        return
    assert math.isfinite(found.overview.moment)
    assert {each.name for each in fields(Overview)} == set(asdict(found.overview))


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"", "not that of a journal"),
        (b"{}", "not that of a journal"),
        (b'{"corral_journal": true}', "not that of a journal"),
        (
            b'{"corral_journal": 2, "corral": "9.1"}',
            "written by corral 9.1 in format 2, and this corral reads format 1",
        ),
        (b'{"corral_journal": 1, "name": 5}', "its first line is damaged"),
    ],
)
def test_what_is_no_journal_is_refused_with_the_reason(first: bytes, why: str) -> None:
    """Also one of a later corral."""
    with pytest.raises(UnreadableJournal, match=why):
        read_journal(first + b"\n")


def test_fields_of_a_later_corral_of_this_format_are_left_out() -> None:
    """And lines of kinds that are not known."""
    written = Written()
    written.see(seen(0, job("1")))
    written.raw += b'{"t": 1772000009, "job": {"id": "1", "group": "g", "mood": "good"}}\n{"t": 1, "weather": 3}\n'
    assert written.read().notes == ()


def test_a_cluster_that_began_again_has_lost_its_jobs() -> None:
    """The job of its scheduler was started again: what the first process had is of no use to the second."""
    written = Written()
    written.see(seen(0, job("1", phase="working"), job("2", phase="working")))
    written.raw += encoded([HEAD.to_line()], 0)
    written.pen = Pen()
    written.see(seen(50, job("2", phase="working"), job("3")))
    found = {each.id: each for each in written.read().overview.jobs}
    assert (found["1"].phase, found["1"].why) == ("ended", "its cluster was started again before its end was known")
    assert (found["2"].phase, found["3"].phase) == ("working", "waiting")


# --- its end ----------------------------------------------------------------------------------------------------


def test_the_end_of_a_file_tells_how_it_stood() -> None:
    """For lists of many; also if it begins in the middle of a line."""
    written = Written()
    written.see(seen(0, job("1"), workers=1))
    assert last_sample(written.raw[30:])[1] is False
    written.see(seen(9, job("1"), job("2"), workers=3), is_last=True)
    sample, is_closed = last_sample(written.raw[30:])
    assert sample is not None
    assert (sample.workers, sample.jobs, sample.peak, sample.moment, is_closed) == (3, 2, 3, BEGAN + 9, True)
    assert last_sample(b"\xff" + HOSTILE.encode(errors="replace")) == (None, False)
