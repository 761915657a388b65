"""Driving conversations by recorded answers, and catching hooks that do I/O."""

from __future__ import annotations

import cProfile
import gc
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from corral.errors import CommandFailed, CommandNotFound, CommandTimedOut
from corral.plugin.values import Command, Completed, Conversation, JobId
from corral.testing import Detects, Finds, Mismatch, Recording, Submits, drive, environment, transcript
from corral.testing.silence import HookDidIO, silence
from corral.testing.stillness import Stillness


def ask(*lines: str) -> Conversation[list[str]]:
    """Asks these, one after the other, and returns what came back: text, or the name of an error."""
    heard = []
    for line in lines:
        try:
            done = yield Command(line.split())
        except (CommandFailed, CommandNotFound, CommandTimedOut) as error:
            heard.append(type(error).__name__)
        else:
            heard.append(done.stdout)
    return heard


# --- answers ----------------------------------------------------------------------------------------------------


def test_answers_in_order(tmp_path: Path) -> None:
    """Text, a file, a result, an error and the class of one: each is what the runner would send or throw."""
    (tmp_path / "one.txt").write_text("$ squeue\none\n[rc=0]\n")
    assert drive(ask("a"), ["text"]) == ["text"]
    assert drive(ask("a"), [tmp_path / "one.txt"]) == ["one\n"]
    assert drive(ask("a", "b"), [Completed(stdout="x"), Completed(returncode=3)]) == ["x", "CommandFailed"]
    assert drive(ask("a", "b"), [CommandTimedOut, CommandNotFound]) == ["CommandTimedOut", "CommandNotFound"]
    assert drive(ask("a"), [CommandTimedOut(Command(["a"]), 3)]) == ["CommandTimedOut"]


def test_answers_by_command() -> None:
    """The longest beginning that fits is meant, as often as it is asked for."""
    answers = {"squeue": "any", "squeue -j 7": "seven"}
    assert drive(ask("squeue -j 7", "squeue", "squeue -h"), answers) == ["seven", "any", "any"]


def test_a_command_without_an_answer_is_shown() -> None:
    """The failure says what was asked, in order."""
    with pytest.raises(Mismatch, match=r"1 answers were given, but the conversation asked:\n  \$ a\n  \$ b -x"):
        drive(ask("a", "b -x"), ["one"])
    with pytest.raises(Mismatch, match=r"no answer was given for: sacct -X\nThere are answers for: squeue"):
        drive(ask("sacct -X"), {"squeue": ""})


def test_an_answer_without_a_command_is_a_mismatch() -> None:
    """An answer that nobody asked for tests nothing."""
    with pytest.raises(Mismatch, match=r"2 answers were given, but the conversation only asked:\n  \$ a$"):
        drive(ask("a"), ["one", "two"])


def test_a_mismatch_cannot_be_swallowed() -> None:
    """A hook that catches everything does not hide that its test is wrong."""

    def swallows() -> Conversation[str]:
        try:
            yield Command(["a"])
        except Exception:
            return "swallowed"
        return "answered"

    with pytest.raises(Mismatch):
        drive(swallows(), [])


def test_an_unforeseen_error_leaves_the_conversation() -> None:
    """What the hook does not catch is what the caller gets."""
    with pytest.raises(ZeroDivisionError):
        drive(ask("a"), [ZeroDivisionError()])


# --- transcripts ------------------------------------------------------------------------------------------------


def test_a_transcript_of_success(tmp_path: Path) -> None:
    """All that it printed is output."""
    file = tmp_path / "a.txt"
    file.write_text("$ sbatch --wrap 'exit 3'\nSubmitted batch job 7\n[rc=0]\n")
    expected = Completed(argv=["sbatch", "--wrap", "exit 3"], stdout="Submitted batch job 7\n")
    assert transcript(file) == expected


def test_a_transcript_of_failure(tmp_path: Path) -> None:
    """All that it printed are errors, unless a line tells them apart."""
    file = tmp_path / "a.txt"
    file.write_text("$ squeue -j 9\nInvalid job id\n[rc=1]\n")
    assert ("", "Invalid job id\n", 1) == (
        transcript(file).stdout,
        transcript(file).stderr,
        transcript(file).returncode,
    )
    file.write_text("$ squeue -j 1,9\n1|RUNNING\n[stderr]\nInvalid job id\n[rc=1]\n")
    assert ("1|RUNNING\n", "Invalid job id\n") == (transcript(file).stdout, transcript(file).stderr)


def test_a_command_line_that_is_no_shell_line(tmp_path: Path) -> None:
    """A quote that is never closed is kept as it is."""
    file = tmp_path / "a.txt"
    file.write_text("$ echo it's\n[rc=0]\n")
    assert transcript(file) == Completed(argv=["echo", "it's"])


def test_a_transcript_of_success_need_not_say_so(tmp_path: Path) -> None:
    """The exit code is given if it is not 0; both streams may be told apart all the same."""
    file = tmp_path / "a.txt"
    for text, out, errors in (("7\n8\n", "7\n8\n", ""), ("", "", ""), ("7\n[stderr]\nold\n", "7\n", "old\n")):
        file.write_text(f"$ acsub 3\n{text}")
        assert transcript(file) == Completed(argv=["acsub", "3"], stdout=out, stderr=errors)


@pytest.mark.parametrize("end", ["[rc=x]\n", "[rc=", "[rc=1"])
def test_a_code_that_cannot_be_read_is_no_output(tmp_path: Path, end: str) -> None:
    """A failure must not be taken for a success."""
    (tmp_path / "odd.txt").write_text(f"$ acsub 3\nno\n{end}")
    with pytest.raises(Mismatch, match=r"odd\.txt is not a transcript"):
        transcript(tmp_path / "odd.txt")


def test_what_is_no_transcript_is_named(tmp_path: Path) -> None:
    """A recording that was cut short proves nothing."""
    (tmp_path / "cut.txt").write_text("$ squeue\n1|RUN")
    with pytest.raises(Mismatch, match=r"cut\.txt is not a transcript: it must begin with '\$ command' and end with"):
        transcript(tmp_path / "cut.txt")


def test_a_recording_is_made_of_files() -> None:
    """Text in place of a file's name is a mistake that would show up late."""
    with pytest.raises(ValueError, match=r"Give text as Completed\(stdout=…\), not as 'acme 3.1\\n'"):
        Detects(["acme 3.1\n"], version="3.1")


def test_the_environment_of_a_job(tmp_path: Path) -> None:
    """Only its ``NAME=value`` lines."""
    (tmp_path / "env.txt").write_text("$ env\nsrun: job 7 queued\nA=1\nB=x=y\nC=\n[rc=0]\n")
    assert environment(tmp_path / "env.txt") == {"A": "1", "B": "x=y", "C": ""}


# --- silence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda: subprocess.run(["true"], check=False),
        lambda: os.system("true"),
        socket.socket,
        lambda: socket.gethostbyname("localhost"),
        lambda: Path("/etc/hostname").read_text(),
        lambda: Path("/nowhere/x.py").write_text(""),
        lambda: os.open("/dev/null", os.O_WRONLY),
        lambda: os.mkdir("/nowhere/x"),
        lambda: os.environ.update(CORRAL_TEST="1"),
        lambda: os.kill(os.getpid(), 0),
    ],
)
def test_io_is_caught(act: Callable[[], object]) -> None:
    """Where a hook runs, none of these is allowed."""
    with pytest.raises(HookDidIO, match="Yield a Command instead"), silence:
        act()


def test_io_that_is_swallowed_is_caught() -> None:
    """A bare ``except`` in a hook does not help it."""
    with pytest.raises(HookDidIO), silence:
        try:
            os.mkdir("/nowhere/x")
        except BaseException:
            logging.getLogger("corral.test").debug("nothing happened")


def test_thinking_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports, the environment, the clock and logging are no I/O; and afterwards all is as before."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with silence:
        import colorsys  # noqa: F401 - read from its file here

        assert os.environ.get("PATH")
        assert time.time() > 0
    assert Path("/dev/null").read_text() == ""


class Careless:
    """Garbage that only the collector finds, and that removes a file when it goes."""

    gone = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        with suppress(OSError):
            os.remove("/nowhere/x")
        Careless.gone += 1


def test_what_others_left_to_the_garbage_collector_is_not_a_hook_s() -> None:
    """It may come at any allocation, also at one of a hook; it waits until that is done."""
    gone = Careless.gone
    Careless()
    with silence:
        assert [[] for _ in range(100_000)]
    gc.collect()
    assert Careless.gone == gone + 1
    assert gc.isenabled()


@pytest.mark.parametrize("kind", [Submits, partial(Finds, name="dask-1")])
def test_a_recording_says_on_which_server_jobs_are(kind: Callable[..., Recording]) -> None:
    """Ids that lose it are asked for, and cancelled, on another one."""
    recorded = kind(["submit.txt"], ids=["7.0"], where="beta")
    recorded.is_right([JobId("7.0", where="beta")])
    with pytest.raises(AssertionError, match=r"JobId\.where of \['7\.0'\] is not 'beta'"):
        recorded.is_right([JobId("7.0")])
    kind(["submit.txt"], ids=["7.0"]).is_right([JobId("7.0", where="beta")])


def test_a_profiler_around_the_tests_leaves_no_silence_behind() -> None:
    """It ends its measurement, and nothing of ours: tests that follow may open files."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        with Stillness():
            pass
        assert silence.broken is None
    finally:
        silence.broken = None
        profiler.disable()
