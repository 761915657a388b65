"""`corral top` on a real terminal, with a real cluster: what a person sees, presses, and is left with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminals import CTRL_C, CTRL_Z, DOWN, END, UP, Opens, Terminal

from corral import Cluster
from corral.cli.tables import say_json

pytestmark = pytest.mark.timeout(180)

TOP = ("-m", "corral.cli", "top")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a served cluster with room for two of its six jobs."""
    folder = tmp_path_factory.mktemp("top")
    environ = {"XDG_STATE_HOME": str(folder / "state")}
    argv = [
        sys.executable, "-m", "corral.cli", "serve", "--name=shown", "--backend=local", "--memory=200MB",
        "--scheduler-interface=lo", f"--backend-option=directory={folder / 'queue'}", "--backend-option=cores=2",
        "--backend-option=memory=8GB", "--n-workers=6",
    ]  # fmt: skip
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, **environ}) as process,
    ):
        try:
            while "Cluster.connect(" not in (folder / "log").read_text():
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield environ
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def opened(terminal: Opens, served: dict[str, str], *more: str, **how: Any) -> Terminal:
    """The terminal, when everything is shown in it; the scheduler may be starting."""
    screen = terminal(*TOP, *more, environ={**served, **how.pop("environ", {})}, **how)
    screen.until(" quit" if how.get("columns", 80) > 70 else "↑↓")
    return screen


def test_a_person_looks_scales_ends_a_job_reads_its_log_and_quits(terminal: Opens, served: dict[str, str]) -> None:
    """Each is seen on the screen, and the terminal is as it was before."""
    screen = opened(terminal, served, "shown")
    text = screen.until(lambda text: len(re.findall(r"working +\d+ (s|min) ", text)) == 2)
    assert "shown  running  local" in text
    assert "2 of 6  memory " in text
    assert re.search(r"default +6 +4 +2 +2/6", text)
    assert "Resources" in text
    screen.press("+")
    screen.until("default: 7 jobs are asked for")
    screen.until(lambda text: bool(re.search(r"default +7 +5 ", text)))
    screen.press("--")
    screen.until(lambda text: bool(re.search(r"default +5 +3 ", text)))
    screen.press("s9x\x7f6\n")
    screen.until(lambda text: bool(re.search(r"default +6 +4 ", text)))
    screen.press("c")
    screen.until("choose a job first")
    screen.press(DOWN)
    screen.until(lambda text: text.splitlines()[-2].startswith("job 1_0: connected"))
    screen.press("l")
    assert "job 1_0 on " in screen.until("lines 1 to ")
    screen.press("q")
    screen.until(" quit")
    screen.press(END)
    text = screen.until(lambda text: bool(re.match(r"job (?!1_0)\w+: pending", text.splitlines()[-2])))
    last = text.splitlines()[-2].split()[1].strip(":")
    screen.press("c")
    screen.until(f"End job {last}? It is not replaced. (y/n)")
    screen.press("n")
    screen.until("nothing was done")
    screen.press("cy")
    screen.until(lambda text: bool(re.search(r"default +5 +3 ", text)))
    assert last not in screen.until(lambda text: not re.search(rf"^{last} ", text, re.MULTILINE)).split()
    screen.press(UP + "q")
    assert screen.end() == 0
    assert screen.is_sane
    with_more = subprocess.run(
        [sys.executable, *TOP, "--json"], capture_output=True, text=True, check=True, env={**os.environ, **served}
    )
    assert json.loads(with_more.stdout)["groups"][0]["wanted"] == 5
    screen = opened(terminal, served)
    screen.press("+")
    screen.until(lambda text: bool(re.search(r"default +6 ", text)))


@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_every_way_out_leaves_the_terminal_as_it_was(terminal: Opens, served: dict[str, str], end: str) -> None:
    """By key and by signal."""
    screen = opened(terminal, served)
    assert not screen.is_sane
    if end == "Ctrl-C":
        screen.press(CTRL_C)
    else:
        screen.process.send_signal(getattr(signal, end))
    assert screen.end() == {"Ctrl-C": 130, "SIGTERM": 143, "SIGHUP": 129}[end]
    assert screen.is_sane
    assert "Traceback" not in screen.text


def test_an_error_is_told_when_the_terminal_is_in_order(terminal: Opens) -> None:
    """What went to stderr meanwhile is not lost, and is not drawn over the page."""
    program = (
        "import sys\nfrom corral.cli.display import Display\nfrom corral.view.lines import Line\n"
        "with Display() as display:\n"
        "    display.draw([Line.of('x' * 80)] * 24)\n"
        "    print('aside', file=sys.stderr, flush=True)\n"
        "    display.key(60)\n"
        "    raise RuntimeError('on purpose')\n"
    )
    screen = terminal("-c", program)
    assert "aside" not in screen.until(lambda text: text.count("x") == 80 * 24)
    screen.press("\x1b[Z")
    assert screen.end() == 1
    assert screen.is_sane
    assert re.search(r"^aside\n(?s:.*)RuntimeError: on purpose", screen.text, re.MULTILINE)


def test_ctrl_z_has_it_sleep_and_fg_goes_on(terminal: Opens, served: dict[str, str]) -> None:
    """The shell gets a terminal in order, and later the page is drawn anew."""
    environ = {**served, "PS1": "prompt> "}
    screen = terminal("--norc", "--noprofile", "-i", program="bash", environ=environ)
    screen.until("prompt>")
    screen.press(f"{sys.executable} {' '.join(TOP)}\n")
    screen.until(" quit")
    screen.press(CTRL_Z)
    screen.until("Stopped")
    assert b"\x1b[?25h\x1b[?1049l" in screen.written
    screen.press("stty -a | grep -o ' echo '; fg\n")
    screen.until(" quit")
    assert screen.written.count(b"\x1b[?1049h") == 2
    screen.press("q")
    screen.until("prompt>")
    screen.press("exit\n")
    screen.end()


def test_a_small_window_and_one_that_changes(terminal: Opens, served: dict[str, str]) -> None:
    """Nothing runs over its edge; without colours where they are not wanted."""
    screen = opened(terminal, served, columns=40, rows=10, environ={"NO_COLOR": "1"})
    text = screen.until(lambda text: "working" in text)
    assert len(text.splitlines()) == 10
    assert "default" in text
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]", screen.written)
    screen.resize(100, 30)
    text = screen.until(lambda text: len(text.splitlines()) == 30 and "c cancel" in text)
    assert "core-hours" in text
    screen.press("q")
    assert screen.end() == 0
    assert screen.is_sane


def test_a_cluster_of_another_process_is_shown_as_far_as_it_is_known(
    terminal: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is said, and that it can be changed only there; when it has ended, that is said, too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = {"directory": str(tmp_path / "queue"), "cores": 2, "memory": "8GB"}
    with Cluster(
        backend="local", name="own", memory="200MB", interface="lo", backend_options=options, n_workers=2
    ) as it:
        it.wait_for_workers(2)
        screen = terminal(*TOP, columns=100)
        text = screen.until(lambda text: text.count("working ") >= 2)
        assert f"Its scheduler is in process {os.getpid()} on " in text
        assert "wanted" not in text.partition("workers")[2].splitlines()[1]
        screen.press("+")
        screen.until("it can be changed only where it was made")
    screen.until("the cluster has ended")
    screen.press("q")
    assert screen.end() == 0
    assert screen.is_sane


def test_without_a_terminal_it_is_printed_once(served: dict[str, str], terminal: Opens) -> None:
    """In a pipe, and where a terminal cannot be drawn on."""
    opened(terminal, served).press("q")
    environ = {**os.environ, **served}
    done = subprocess.run([sys.executable, *TOP, "shown"], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.startswith("shown  running  local")
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    screen = terminal(*TOP, columns=100, environ={**served, "TERM": "dumb"})
    assert screen.end() == 0
    assert "shown  running  local" in screen.text
    assert b"\x1b" not in screen.written
    wrong = subprocess.run([sys.executable, *TOP, "none"], capture_output=True, text=True, check=False, env=environ)
    assert wrong.returncode == 1
    assert wrong.stderr == "corral: there is no cluster 'none'; there are: shown. See corral ps\n"


def test_json_has_only_what_json_has(capsys: pytest.CaptureFixture[str]) -> None:
    """No infinity, and nothing that is no number; hostile text as it is, in escapes."""
    say_json({"a": [float("nan"), float("inf"), 1.5], 7: "\x1b\ud800\u2028", "c": {1}, "d": Path("x")})
    printed = capsys.readouterr().out

    def refuse(text: str) -> None:
        raise AssertionError(text)

    assert printed.isascii()
    found = json.loads(printed, parse_constant=refuse)
    assert found == {"a": [None, None, 1.5], "7": "\x1b\ud800\u2028", "c": [1], "d": "x"}
