"""A cluster on screens of any size: nothing is wider or longer than the screen, and what is selected is on it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from corral.text.printable import printable
from corral.view.lines import Line
from corral.view.overview import PHASES, USES, FailureView, GroupView, JobView, Load, Overview
from corral.view.screen import choices, detail, listed, page, text_of
from corral.view.table import Cell, Column, fitted, table

NOW = 1_800_000_000.0
HOSTILE = "\x1b]0;owned\x07[red]日本\n"
TOLD = [Line.of("what happened"), Line.of("the keys")]


def job(number: int, group: str, phase: str, **more: object) -> JobView:
    values = {
        "state": "running", "condition": "c", "submitted": NOW - 4000, "hosts": (f"node{number:03}",),
        "expected_workers": 4, **more,
    }  # fmt: skip
    return JobView(id=f"77_{number}", group=group, phase=phase, **values)  # type: ignore[arg-type]


def overview(groups: int = 2, jobs: int = 45, failures: int = 1) -> Overview:
    names = [f"g{number}" for number in range(groups)]
    kinds = [
        GroupView(
            name=name, wanted=1500, workers_per_job=4, jobs=dict(zip(PHASES, (10, 1, 12, 1, 0), strict=True)),
            workers=48, failed=1, waiting_since=NOW - 4000, expected_start=NOW + 3000, reasons=((HOSTILE, 9),),
            core_hours=dict(zip(USES, (10.0, 5.0, 1.0, 0.0, 0.0), strict=True)),
        )
        for name in names
    ]  # fmt: skip
    living = [job(at, names[at % groups], PHASES[at % 4], reason=HOSTILE) for at in range(jobs)] if groups else []
    dead = [
        job(900 + at, names[0] if names else "gone", "ended", outcome="died", ended=NOW - 60 + at,
            why="FAILED, exit code 127")
        for at in range(failures)
    ]  # fmt: skip
    return Overview(
        name=HOSTILE, backend="slurm", moment=NOW, began=NOW - 10_000, groups=tuple(kinds), jobs=(*dead, *living),
        failures=tuple(
            FailureView(job=each.id, group=each.group, moment=NOW, cause=each.why, outcome="died") for each in dead
        ),
        load=Load(workers=96, tasks=12_345, processing=400, queued=10_000, no_worker=3, memory=int(355e9),
                  memory_limit=10**12),
        maximum_core_hours=1000.0,
    )  # fmt: skip


@given(
    width=st.integers(20, 200),
    height=st.integers(8, 60),
    groups=st.integers(0, 12),
    jobs=st.integers(0, 60),
    failures=st.integers(0, 5),
    at=st.integers(0, 100),
)
def test_it_fits_and_shows_what_is_selected(
    width: int, height: int, groups: int, jobs: int, failures: int, at: int
) -> None:
    """With what was told and the keys as the last two lines; no character that a terminal would obey."""
    found = overview(groups, jobs, failures)
    there = choices(found)
    chosen = there[at % len(there)] if there else None
    lines = page(found, width=width, height=height, chosen=chosen, told=TOLD)
    assert len(lines) == height
    assert [str(line) for line in lines[-2:]] == ["what happened"[:width], "the keys"]
    for line in lines:
        assert cell_len(str(line)) <= width
        assert str(line) == printable(str(line))
    if chosen is not None:
        [marked] = [line for line in lines if "chosen" in {role for _, role in line.parts}]
        assert str(marked).startswith(chosen.name)


def test_everything_is_on_a_page_without_an_end() -> None:
    """What is listed, and how it stands, in whole numbers and words."""
    text = "\n".join(map(str, page(overview(), width=None)))
    assert "96 of 12,000  memory 355 GB of 1 TB" in text
    assert "tasks 12,345, 400 running, 10,000 queued, 3 without a worker" in text
    assert "core-hours 32.0 of 1,000 (62% busy, 31% idle, 6% starting)" in text
    assert "1,500" in text
    assert "job 77_900: FAILED, exit code 127" in text
    assert "more jobs" not in text
    assert [each.id for each in listed(overview())] == [*(f"77_{at}" for at in range(45)), "77_900"]


def test_how_many_more_there_are_is_said() -> None:
    """On the side where they are."""
    found = overview()
    middle = next(each for each in choices(found) if each.name == "77_20")
    text = "\n".join(map(str, page(found, width=80, height=24, chosen=middle, told=TOLD)))
    [counts] = re.findall(r"… more jobs: (\d+) above and (\d+) below", text)
    above, below = map(int, counts)
    assert above + below + len(re.findall("^77_", text, re.MULTILINE)) == 46


def test_what_is_not_known_is_left_out_and_that_is_said() -> None:
    """Neither tasks nor hours nor what is wanted."""
    text = "\n".join(map(str, page(overview(), width=100, partial="It is what was written 3 s ago.")))
    assert "It is what was written 3 s ago." in text
    assert "wanted" not in text
    assert "tasks" not in text
    assert "core-hours" not in text


def test_the_selected_row_is_told_in_full() -> None:
    """Why a group waits, and why a job failed."""
    found = overview()
    there = choices(found)
    assert str(detail(found, there[0])).startswith("g0: waiting for 1.1 h (\\x1b]0;owned")
    assert str(detail(found, there[-1])) == "job 77_900: FAILED, exit code 127; on node900"
    assert detail(found, None).parts == ()


def test_columns_that_matter_least_go_first() -> None:
    """Those that nobody fills are not shown at all; what is wide is counted in cells."""
    columns = [Column(head="a"), Column(head="b", rank=1), Column(head="c", rank=2), Column(head="d", rank=3)]
    rows: list[list[str | Cell]] = [["x" * 10, "y" * 10, "z" * 10, ""], [Cell("日本", "bad"), "", "", ""]]
    head, _ = table(columns, rows, None)
    assert str(head).split() == ["a", "b", "c"]
    head, lines = table(columns, rows, 24)
    assert str(head).split() == ["a", "b"]
    assert str(lines[1]).startswith("日本      ")
    assert fitted("日本語", 5) == "日本…"
    assert fitted("7", 3, is_number=True) == "  7"


def test_a_log_is_lines_of_the_screen() -> None:
    """Long lines go on in the next, and nothing is obeyed."""
    assert text_of(b"abcdef\n\x1b[2Jx\ty\r\n\xff\n", 4) == ["abcd", "ef", "\\x1b", "[2Jx", "    ", "    ", "y", "�"]
    assert text_of(b"", 4) == []
