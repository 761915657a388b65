"""What a report shows, of few jobs and of many, and that nothing in it is obeyed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from attrs import evolve
from past_clusters import BEGAN, HOSTILE, history

from corral.view.amounts import elapsed, moment, size
from corral.view.charts import MOST, chosen, thinned
from corral.view.elements import Markup, element
from corral.view.history import History
from corral.view.overview import JobView, Overview
from corral.view.report import CUT_OFF, ENDED, RUNNING, report
from corral.view.spans import spans_of, start_of, waits_of


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, "every element has its end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(history: History, standing: str = ENDED) -> Page:
    return Page(report(history, standing=standing, made=BEGAN + 10**6))


def job(**more: object) -> JobView:
    shown = {
        "id": "1",
        "group": "g",
        "phase": "ended",
        "state": "completed",
        "condition": "",
        "submitted": 100.0,
        **more,
    }
    return JobView(**shown)  # type: ignore[arg-type]


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [0, 1, 3, 100, 1000])
def test_it_needs_nothing_else(jobs: int) -> None:
    """No script, no address of anything, and a policy that forbids both; well-formed."""
    found = page(history(jobs))
    names = {name for name, _ in found.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "image", "use", "a"}
    for _, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style")]
    policies = [each.get("content") for name, each in found.elements if name == "meta"]
    assert any("default-src 'none'" in (policy or "") for policy in policies)
    assert "url(" not in found.text
    assert f"{jobs:,}" in found.text


@pytest.mark.parametrize("jobs", [1, 40, 500])
def test_text_from_elsewhere_is_text(jobs: int) -> None:
    """Wherever it comes from, and also in pictures."""
    plain, hostile = history(jobs), history(jobs, text=HOSTILE)
    # Each is taken for what it is: the same elements with the same attributes.
    strange = evolve(
        hostile,
        notes=(HOSTILE,),
        overview=evolve(hostile.overview, groups=tuple(evolve(g, trouble=HOSTILE) for g in hostile.overview.groups)),
    )
    usual = evolve(plain, notes=("x",))
    told = report(strange, standing=ENDED, made=BEGAN)
    assert [name for name, _ in Page(told).elements] == [name for name, _ in page(usual).elements]
    assert "<script" not in told
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\ud800]", told)
    assert "alert(1)" in Page(told).text


def test_pictures_are_svg() -> None:
    """Well-formed XML, with a title for those who do not see them."""
    text = report(history(60, text=HOSTILE), standing=RUNNING, made=BEGAN)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 5, "jobs, workers, waits, core-hours, GPU-hours"
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root[0].tag == "title"
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for bar in root.iter("rect"):
            assert -0.1 <= float(bar.attrib["x"]) <= width
            assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width + 0.1
            assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= height
            assert float(bar.attrib["width"]) > 0


def test_it_says_how_a_cluster_stands() -> None:
    """One that was killed is not said to have ended well; what a journal lacks is said."""
    past = evolve(history(3), notes=("Half of it is missing.",))
    assert "It has ended." in page(past, ENDED).text
    assert "It was running when this was written." in page(past, RUNNING).text
    assert "killed: how its last jobs ended is not known" in page(past, CUT_OFF).text
    assert "Half of it is missing." in page(past).text


def test_without_a_journal_it_says_what_is_missing() -> None:
    """And shows workers as far as jobs tell."""
    found = page(History.of(history(20).overview), RUNNING).text
    assert "There is no journal of this cluster here" in found
    assert "how many were wanted was not written down" in found


def test_of_nothing_there_is_a_report() -> None:
    """A cluster that never did anything."""
    found = page(History.of(Overview(name="n", backend="b", moment=5.0))).text
    assert "No job was submitted." in found


def test_causes_that_are_alike_are_told_once() -> None:
    """A thousand jobs that fail alike have one line, with some of their evidence."""
    past = history(1000)
    found = page(past)
    summaries = [name for name, _ in found.elements].count("summary")
    assert summaries < 10
    assert f"Failures ({len(past.overview.failures):,})" in found.text
    assert "slurmstepd: error: node failure" in found.text
    assert re.search(r"And \d+ more like it", found.text)


@pytest.mark.parametrize("wild", [-1e18, 0.0, 1e18])
def test_moments_that_cannot_be_are_no_obstacle(wild: float) -> None:
    """A journal may be damaged, and a clock set wrong."""
    past = history(20)
    jobs = tuple(evolve(each, started=wild, connected=wild) for each in past.overview.jobs)
    for odd in ({"jobs": jobs}, {"moment": wild}, {"began": wild}):
        assert "List of jobs" in page(evolve(past, overview=evolve(past.overview, **odd))).text


# --- jobs -------------------------------------------------------------------------------------------------------


def test_of_very_many_jobs_the_failed_are_drawn() -> None:
    """And what is left out is said."""
    jobs = history(1000).overview.jobs
    drawn, said = chosen(jobs)
    failed = [each for each in jobs if each.has_failed]
    assert len(drawn) == MOST
    assert all(each in drawn for each in failed)
    others = MOST - len(failed)
    assert said == (
        f"400 of 1,000 jobs are drawn: the {len(failed)} that failed, and {others} of the {1000 - len(failed)} others, "
        "evenly chosen."
    )
    assert chosen(jobs[:MOST]) == (list(jobs[:MOST]), "")


def test_a_job_has_its_phases_one_after_the_other() -> None:
    """Each from one moment to the next."""
    whole = job(started=110.0, connected=115.0, leaving=150.0, ended=155.0)
    assert [(each.phase, each.begin, each.end) for each in spans_of(whole, 900.0)] == [
        ("waiting", 100, 110), ("starting", 110, 115), ("working", 115, 150), ("draining", 150, 155),
    ]  # fmt: skip
    works = job(phase="working", started=110.0, connected=115.0)
    assert [(each.phase, each.end) for each in spans_of(works, 200.0)][-1] == ("working", 200)
    cancelled = job(leaving=130.0, started=131.0, ended=131.0, outcome="wanted")
    assert [(each.phase, each.end) for each in spans_of(cancelled, 900.0)] == [("waiting", 130), ("cancelling", 131)]
    assert start_of(cancelled) is None


def test_moments_of_several_clocks_make_no_span_that_ends_before_it_begins() -> None:
    """A node's clock may be late."""
    odd = job(started=90.0, connected=120.0, leaving=110.0, ended=125.0)
    found = spans_of(odd, 900.0)
    assert all(each.begin < each.end for each in found)
    assert found[0].begin == 100
    assert found[-1].end == 125


def test_waits_are_of_jobs_that_started() -> None:
    """One that was cancelled before did not."""
    jobs = [
        job(started=110.0, connected=112.0),
        job(connected=105.0),
        job(started=300.0, ended=300.0),
        job(phase="waiting"),
    ]
    assert waits_of(jobs) == {"g": [5.0, 10.0]}


# --- small parts ------------------------------------------------------------------------------------------------


def test_a_curve_of_very_many_points_keeps_its_peaks() -> None:
    """And its ends."""
    points = [(float(at), 1.0) for at in range(100_000)]
    points[777] = (777.0, 50.0)
    found = thinned(points)
    assert len(found) <= 1200
    assert (points[0], points[777], points[-1]) == (found[0], max(found, key=lambda each: each[1]), found[-1])


def test_text_is_escaped_unless_it_says_that_it_is_markup() -> None:
    """In elements and in attributes."""
    assert element("b", "<i>", Markup("<br>"), title='"&') == '<b title="&quot;&amp;">&lt;i&gt;<br></b>'
    assert element("p", None, class_=None, hidden=True) == "<p hidden></p>"


def test_amounts_are_said_as_people_say_them() -> None:
    """With units."""
    assert [elapsed(each) for each in (0, 90, 5400, 200_000)] == ["0", "1 min 30 s", "1 h 30 min", "2 d 7 h"]
    assert [size(each) for each in (0, 999, 32e9, 1.5e12, 1e30)][:4] == ["0 bytes", "999 bytes", "32 GB", "1.5 TB"]
    assert moment(1e30) == "at no date that there is"
