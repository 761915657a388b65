"""What people see while they wait for workers: in a real terminal, in a pipe, in a notebook; from a handle as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from terminals import CTRL_C, Opens

pytestmark = pytest.mark.timeout(180)

BEGIN = """
    import asyncio, logging, os, sys
    from corral import Cluster
    from corral.cluster import explaining, progress

    def made(scheduler="process", **more):
        options = {"directory": os.environ["QUEUE"], "cores": 3, "memory": "8GB"}
        more |= {"scheduler_options": {"memory": "300MB", "cores": 1}} if scheduler == "job" else {}
        return Cluster(backend="local", name="one", memory="200MB", interface="lo", backend_options=options,
                       scheduler=scheduler, **more)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a program that makes clusters on a queue of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("QUEUE", str(tmp_path / "queue"))

    def write(body: str) -> str:
        path = tmp_path / "program.py"
        body = "\n".join(f"    {line}" for line in dedent(body).splitlines())
        path.write_text(f"{dedent(BEGIN)}\nif __name__ == '__main__':\n{body}\n")
        return str(path)

    return write


@pytest.mark.parametrize("place", ["process", "job"])
def test_a_terminal_shows_it_and_is_left_with_one_line(program: Any, terminal: Opens, place: str) -> None:
    """Also of a cluster whose engine is elsewhere; an error erases it, and says all itself."""
    path = program(f"""
        with made({place!r}) as cluster:
            cluster.scale(5)
            try:
                cluster.wait_for_workers(5, timeout=8)
            except TimeoutError as error:
                print(error)
            print("and now")
            cluster.wait_for_workers(2)
            cluster.scale(0)
            cluster.scale(1)
            cluster.wait_for_workers(1)
        print("the end")
    """)
    screen = terminal(path, columns=100)
    shown = screen.until(" working")
    assert " of 5 workers  waiting for " in shown
    assert "waiting for" in shown
    assert "(Resources)" in screen.until("(Resources)")
    screen.until("and now")
    assert "━" not in screen.text
    assert screen.end() == 0
    assert screen.is_sane
    assert "\x1b[3" in screen.written.decode()
    assert screen.text.rstrip().endswith("the end")


def test_workers_that_came_are_told_in_one_line(program: Any, terminal: Opens) -> None:
    """On an event loop, which goes on meanwhile; without colours where somebody does not want them."""
    path = program("""
        async def main():
            async with made(asynchronous=True) as cluster:
                cluster.scale(2)
                ticks = asyncio.create_task(asyncio.sleep(0))
                await cluster.wait_for_workers(2)
                assert ticks.done()
        asyncio.run(main())
    """)
    screen = terminal(path, environ={"NO_COLOR": "1"})
    screen.until("0 of 2 workers")
    assert screen.end() == 0
    assert screen.text.startswith("one: 2 workers are here after ")
    assert len(screen.text.splitlines()) == 1
    assert b"\x1b[3" not in screen.written
    assert screen.is_sane


def test_ctrl_c_leaves_a_terminal_in_order(program: Any, terminal: Opens) -> None:
    """Nothing of it stays on the screen, and nothing is drawn any more."""
    path = program("""
        with made() as cluster:
            cluster.scale(5)
            try:
                cluster.wait_for_workers(5)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                sys.stdin.readline()
    """)
    screen = terminal(path)
    screen.until(" working")
    screen.press(CTRL_C)
    text = screen.until("interrupted")
    assert "of 5 workers" not in text
    screen.press("\n")
    assert screen.end() == 0
    assert screen.is_sane
    assert "of 5 workers" not in screen.text


def test_a_pipe_gets_plain_lines_if_somebody_wants_them(program: Any) -> None:
    """Few, with what fails; otherwise nothing."""
    path = program("""
        progress.LINE_AFTER = 0.0
        with made() as cluster:
            cluster.scale(2)
            cluster.wait_for_workers(2)
            print("now", file=sys.stderr)
            cluster.scale(4)
            cluster.wait_for_workers(3, progress=True)
    """)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    before, after = done.stderr.split("now\n")
    assert before == ""
    lines = after.splitlines()
    assert lines[0].startswith("one: 2 of 3 workers are here; jobs: ")
    assert lines[-1].startswith("one: 3 workers are here after ")
    assert len(lines) <= 6
    assert "\x1b" not in after


def test_a_dumb_terminal_gets_plain_lines(program: Any, terminal: Opens) -> None:
    """As an editor's is."""
    path = program("""
        with made() as cluster:
            cluster.scale(2)
            cluster.wait_for_workers(2)
    """)
    screen = terminal(path, environ={"TERM": "dumb"}, columns=100)
    assert screen.end() == 0
    assert screen.text.startswith("one: 0 of 2 workers are here")
    assert b"\x1b" not in screen.written


def test_nothing_is_said_twice(program: Any, terminal: Opens) -> None:
    """What is shown is not logged as a warning; where nothing is shown, it is."""
    body = """
        explaining.TOLD_AFTER = 0.5
        logging.basicConfig(format="LOGGED %(levelname)s %(message)s", level=logging.INFO)
        with made() as cluster:
            cluster.scale(5)
            try:
                cluster.wait_for_workers(5, timeout=4, progress={shows})
            except TimeoutError:
                pass
    """
    screen = terminal(program(body.format(shows=None)), columns=200)
    assert screen.end() == 0
    assert b"LOGGED INFO cluster one: still waiting for workers" in screen.written
    assert b"LOGGED WARNING cluster one: still waiting" not in screen.written
    screen = terminal(program(body.format(shows=False)), columns=200)
    assert screen.end() == 0
    assert b"LOGGED WARNING cluster one: still waiting for workers" in screen.written


def test_a_notebook_has_an_output_that_is_replaced(tmp_path: Path, program: Any) -> None:
    """Without any widget; text for those who see no HTML."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    path = program("pass")
    cells = [
        Path(path).read_text().partition("\nif __name__")[0],
        "cluster = made()\ncluster.scale(2)\ncluster.wait_for_workers(2)",
        "cluster.close()\nassert 'ipywidgets' not in sys.modules",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    [output] = book.cells[1].outputs
    assert output.data["text/plain"].startswith("one: 2 workers are here after ")
    assert output.data["text/html"].startswith("<pre ")
    assert os.environ["QUEUE"] not in str(output)
