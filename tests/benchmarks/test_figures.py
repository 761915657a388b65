"""The tables of the benchmarks say what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures import Figures, at_least, at_most, megabytes, seconds, write_page


def test_a_row_has_medians_extremes_ratio_and_goal() -> None:
    figures = Figures()
    figures.sooner("one worker", [1.0, 4.0, 2.0], [5.0, 6.0, 7.0], at_least(3.5))
    assert "| one worker | 2.00 s (1.00 to 4.00) | 6.00 s (5.00 to 7.00) | 3.00 | at least 3.5: **missed** |" in (
        figures.markdown().splitlines()
    )


def test_a_bare_fork_is_the_measure_of_the_other_ratio() -> None:
    figures = Figures()
    figures.as_long("one worker", [0.5], [0.4], at_most(1.6))
    assert figures.markdown().splitlines()[-1] == "| one worker | 0.50 s | 0.40 s | 1.25 | at most 1.6: met |"


def test_memory_is_a_part_of_theirs() -> None:
    figures = Figures()
    figures.smaller("one job", [500.0, 700.0, 600.0], [1500.0, 1600.0, 1540.4], at_most(0.5))
    assert figures.markdown().splitlines()[-1] == (
        "| one job | 600 MB (500 to 700) | 1,540 MB (1,500 to 1,600) | 0.39 | at most 0.5: met |"
    )


def test_preimport_is_compared_with_its_absence() -> None:
    figures = Figures()
    figures.less_with_preimport("usable", [2.0], [9.0], seconds)
    figures.less_with_preimport("per worker", [40.0, 50.0], [90.0, 90.0], megabytes)
    assert figures.markdown().splitlines()[-2:] == [
        "| usable | 2.00 s | 9.00 s | 4.50 |",
        "| per worker | 45 MB (40 to 50) | 90 MB (90 to 90) | 2.00 |",
    ]


def test_short_times_keep_their_digits() -> None:
    assert seconds([0.0123, 0.0456, 0.2]) == "0.046 s (0.012 to 0.200)"


def test_tables_without_rows_are_left_out() -> None:
    figures = Figures()
    assert figures.is_empty
    figures.alone("memory", [20.0, 21.0, 30.0], "MB")
    assert figures.markdown().startswith("## By itself\n")
    assert "## Beside" not in figures.markdown()


def test_the_page_keeps_its_words(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("Words.\n\n<!-- figures -->\nold\n<!-- end of figures -->\n")
    for text in ("new", "newer"):
        write_page(page, text)
        assert page.read_text() == f"Words.\n\n<!-- figures -->\n\n{text}\n<!-- end of figures -->\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("Words.\n")
    with pytest.raises(ValueError, match="marks"):
        write_page(page, "text")
    assert page.read_text() == "Words.\n"
