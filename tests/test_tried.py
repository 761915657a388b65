"""The page of what was really run, and what each backend says of itself, are those of docs/tried.jsonl."""

from __future__ import annotations

from pathlib import Path

import pytest
import tried

from corral.plugin import discovery

BACKENDS = sorted(path.parent.name for path in (Path(__file__).parents[1] / "plugins").glob("*/pyproject.toml"))


def test_the_page_has_the_file_s_table() -> None:
    page = tried.PAGE.read_text()
    assert page == tried.written(page, tried.read(tried.RUNS)), "python tests/plugins/tried.py writes it anew"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_says_what_it_was_run_against(backend: str) -> None:
    """And nothing else; after a semicolon it may say what it was not run against."""
    runs = [run for run in tried.read(tried.RUNS) if run.backend == backend]
    said, _, _ = discovery.facts_of(backend).tried.partition("; ")
    if runs:
        assert said == tried.in_words(runs)
    else:
        assert said.startswith("not run on"), "docs/tried.jsonl has nothing about it"


def test_every_run_is_of_a_backend_that_there_is() -> None:
    assert {run.backend for run in tried.read(tried.RUNS)} <= set(BACKENDS) | {"local"}


def test_a_table_is_a_table_whatever_was_said() -> None:
    """Bars and line ends are not its own."""
    run = tried.Run(
        backend="slurm", batch_system="Slurm", version="1", tests=["a|b"], passed=3, failed=0, skipped=1,
        lacks=["gpus"], date="2026-11-30", by="two\nlines",
    )  # fmt: skip
    row = tried.table([run]).splitlines()[2]
    assert row.count("|") == 8
    assert "3 passed, 0 failed, 1 skipped; it lacks gpus" in row
    assert row.endswith("| two lines |")
