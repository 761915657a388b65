"""What people read of a wait: made of values, harmless, and right in its numbers."""

from __future__ import annotations

import re

from corral.text.printable import printable
from corral.view.lines import Line, arrived, clock, expected, in_one, page_of, waiting
from corral.view.overview import PHASES, FailureView, GroupView, Load, Overview

NOW = 1_800_000_000.0
HOSTILE = "\x1b]0;owned\x07<script>alert(1)</script>\n[red]"


def overview(**more: object) -> Overview:
    group = GroupView(
        name="cpu",
        wanted=1500,
        jobs={**dict.fromkeys(PHASES, 0), "waiting": 1497, "working": 2},
        unsubmitted=1,
        waiting_since=NOW - 750,
        expected_start=NOW + 7200,
        reasons=(("Resources", 1000), (HOSTILE, 497)),
        waiting=HOSTILE,
    )
    return Overview(**{"name": "n", "backend": "b", "moment": NOW, "groups": (group,), "load": Load(workers=2), **more})  # type: ignore[arg-type]


def test_it_says_what_waits_why_since_when_and_until_when() -> None:
    """In jobs and workers, with separated thousands."""
    text = "\n".join(map(str, waiting(overview(), 1500, NOW - 90)))
    assert "2 of 1,500 workers  waiting for 1 min" in text
    assert "1,497 waiting for 12 min (Resources, " in text
    assert "2 working, 1 not submitted yet" in text
    assert f"expected to start {expected(NOW + 7200, NOW)}" in text
    assert expected(NOW + 7200, NOW).endswith("in 2 h")
    assert expected(NOW - 60, NOW).startswith("now (it was to be at ")
    assert expected(None, NOW) == ""
    assert re.fullmatch(r"\d\d:\d\d", clock(NOW, NOW))
    assert re.fullmatch(r"\w+ \d\d:\d\d", clock(NOW + 2 * 86_400, NOW))
    assert re.fullmatch(r"2027-\d\d-\d\d \d\d:\d\d", clock(NOW + 30 * 86_400, NOW))


def test_the_last_failure_is_shown_of_those_since_it_began() -> None:
    """With its cause and hint; older ones are somebody else's."""
    failures = tuple(
        FailureView(
            job=str(number), group="cpu", moment=NOW - ago, cause=f"FAILED {number}", outcome="died", hint="Mend."
        )
        for number, ago in ((1, 500), (2, 60), (3, 30))
    )
    lines = waiting(overview(failures=failures), 2, NOW - 90)
    assert str(lines[-1]) == "  job 3: FAILED 3. Mend.  and 1 failure before it"
    assert [role for _, role in lines[-1].parts if role] == ["bad", "faint"]


def test_text_of_others_is_neither_obeyed_nor_markup() -> None:
    """In a terminal, on a page, and for rich."""
    lines = [*waiting(overview(name=HOSTILE), 2, NOW), in_one(overview(name=HOSTILE), 2), arrived(HOSTILE, 1, 3.0)]
    for line in lines:
        assert str(line) == printable(str(line))
        assert line.rich().plain == str(line)
    page = page_of(lines)
    assert "<script>" not in page
    assert set(re.findall(r"<(\w+)", page)) == {"pre", "span"}


def test_the_bar_is_full_when_all_are_here_and_not_before() -> None:
    """And a line without anything has no parts."""
    assert "━" * 24 in str(waiting(overview(load=Load(workers=3)), 3, NOW)[0])
    assert "━" * 24 not in str(waiting(overview(load=Load(workers=1499)), 1500, NOW)[0])
    assert Line.of("", ("", "bad")).parts == ()
