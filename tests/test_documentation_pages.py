"""Blocks of code in docs/*.md are what they say: they run, or the source says why not, and print what is shown."""

from __future__ import annotations

import ast
import copy
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import page_blocks
import pytest
from page_blocks import DOCS, Block, blocks, commands, unlike

from corral.cli import main

#: Pages whose blocks another test runs, and which.
HELD = {
    "coming-from-dask-jobqueue": "tests/test_examples.py",
    "writing-a-backend": "core/tests/testing/test_writing_a_backend.py",
    "writing-a-site": "core/tests/testing/test_writing_a_site.py",
}

PAGES = sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in HELD)
ALL = {page: blocks(DOCS / f"{page}.md") for page in PAGES}
#: Pages with something to run.
RUNS = [
    page
    for page, found in ALL.items()
    if any(each.kind in ("python", "console", "sh") and not each.not_run and not each.is_output for each in found)
]


def run(page: str, folder: Path, *, backend: str = "local") -> dict[str, list[str]]:
    """What each block of a page printed, by the block's name."""
    (folder / "home").mkdir()
    (folder / "work").mkdir()
    given = {
        "XDG_STATE_HOME": str(folder / "state"),
        "DASK_CONFIG": str(folder / "dask"),
        "DASK_CORRAL__COMMANDS_PER_MINUTE": "1000",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    if backend == "local":
        given |= {
            "DASK_CORRAL__BACKEND": "local",
            "DASK_CORRAL__INTERFACE": "lo",
            "DASK_CORRAL__BACKENDS__LOCAL__BACKEND_OPTIONS": json.dumps(
                {"directory": str(folder / "queue"), "cores": 64, "memory": "900TB", "gpus": 100}
            ),
        }
    words = [page_blocks.__file__, str(DOCS / f"{page}.md"), *(["--as-it-is"] if page == "getting-started" else [])]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **given},
        cwd=folder / "work",
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert not answer["problem"], answer["problem"] + done.stderr
    return dict(answer["done"])


def differences(page: str, printed: dict[str, list[str]]) -> dict[str, list[str]]:
    """Lines that the page shows and nobody printed, by block."""
    found = {}
    before: Block | None = None
    for block in ALL[page]:
        if block.is_output:
            assert before is not None
            found[block.name] = unlike(block.text, printed[before.name][0])
        elif block.kind == "console" and not block.not_run:
            for (_, shown), said in zip(commands(block), printed[block.name], strict=True):
                found[block.name] = found.get(block.name, []) + unlike(shown, said, varies=block.varies)
        before = block
    return {name: lines for name, lines in found.items() if lines}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUNS)
def test_a_page_runs_as_it_is_written(page: str, tmp_path: Path) -> None:
    """From top to bottom; numbers, ids and hosts vary."""
    assert differences(page, run(page, tmp_path)) == {}


# A minute of a Slurm on which nothing else is tried meanwhile; the same runs everywhere on the embedded queue.
@pytest.mark.soak
@pytest.mark.real("slurm")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("leaves_nothing")
def test_the_first_cluster_is_as_shown_on_a_real_slurm(tmp_path: Path) -> None:
    """Where its output is from."""
    assert differences("getting-started", run("getting-started", tmp_path, backend="slurm")) == {}


@pytest.mark.parametrize("block", [each for found in ALL.values() for each in found], ids=lambda each: each.name)
def test_a_block_can_be_read(block: Block) -> None:
    """Python is Python, also where it is not run; and what is said to corral are options that it has."""
    if block.kind == "python":
        compile(block.text, block.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if block.kind in ("console", "sh"):
        for words in page_blocks.arguments_of_corral(block):
            understood(words)


def understood(words: list[str]) -> None:
    """Read a command line as corral does, and do nothing."""
    # Options of all commands are flags.
    rest = list(itertools.dropwhile(lambda word: word.startswith("-"), words))
    if rest:
        command = copy.copy(main.commands[rest[0]])
        # Files and folders that a page names are not here.
        command.params = [copy.copy(each) for each in command.params]
        for each in command.params:
            each.type = click.STRING if isinstance(each.type, click.Path | click.File) else each.type
        command.make_context(rest[0], rest[1:])


@pytest.mark.parametrize(("page", "test"), HELD.items())
def test_what_another_test_holds_it_names(page: str, test: str) -> None:
    assert f"{page}.md" in (DOCS.parent / test).read_text()


def test_a_reason_says_something() -> None:
    """Blocks that are not run, and why: most of a page is run."""
    found = [block for every in ALL.values() for block in every if block.kind in ("python", "console")]
    reasons = [block.not_run for block in found if block.not_run]
    assert all(len(reason) > 10 for reason in reasons)
    assert len(reasons) < len(found) / 3
