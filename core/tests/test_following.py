"""`corral logs --follow`: what a job prints, as it comes, until it has ended; in a terminal it is not obeyed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sshd import Sshd
from terminals import CTRL_C, Opens

from corral.cli.following import Writer
from corral.cluster.registry import Entry, JobLine
from corral.host.files import HERE
from corral.text.printable import printable_lines

pytestmark = pytest.mark.timeout(120)

FOLLOW = ("-m", "corral.cli", "logs", "--follow")
UUID = "0" * 32


class Job:
    """A job that is registered, and what it prints."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.log = folder / "77.log"
        self._more = more
        self.tell("running")

    def tell(self, state: str) -> None:
        """Have the registry say so."""
        line = JobLine(id="77", group="g", state=state, log=str(self.log), has_ended=state != "running")
        self.entry = Entry(name="one", uuid=UUID, backend="local", jobs=(line,), **self._more)
        self.entry.write()

    def say(self, raw: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(raw)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Job(tmp_path)


def until(path: Path, text: bytes) -> None:
    for _ in range(600):
        if text in path.read_bytes():
            return
        time.sleep(0.05)
    raise AssertionError(path.read_bytes())


def test_it_waits_for_a_log_and_ends_with_its_job(job: Job, tmp_path: Path) -> None:
    """A pipe gets all that is printed, unchanged: also what comes with the end, and after the file was replaced."""
    out, err = tmp_path / "out", tmp_path / "err"
    with (
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        subprocess.Popen([sys.executable, *FOLLOW, "77"], stdout=stdout, stderr=stderr) as process,
    ):
        until(err, b"has printed nothing yet")
        job.say(b"one\n\xe2\x82")
        until(out, b"one\n\xe2\x82")
        job.say(b"\xac\x1b[2J\r\n")
        until(out, b"\xac\x1b[2J\r\n")
        new = tmp_path / "new"
        new.write_bytes(b"of another run\n")
        new.rename(job.log)
        until(out, b"of another run\n")
        os.truncate(job.log, 0)
        time.sleep(1.0)  # so that it is seen: nobody tells of it
        job.say(b"again\n")
        until(out, b"again\n")
        assert process.poll() is None
        job.say(b"the last word")
        job.tell("completed")
        assert process.wait(30) == 0
    assert out.read_bytes() == b"one\n\xe2\x82\xac\x1b[2J\r\nof another run\nagain\nthe last word"
    assert err.read_bytes().count(b"begins anew") == 2


def test_it_begins_with_the_last_lines_if_somebody_says_so(job: Job) -> None:
    """Of a job that has ended that is all; a log that never came is waited for a while."""
    job.say(b"".join(b"line %d\n" % number for number in range(1000)))
    job.tell("failed")
    argv = [sys.executable, *FOLLOW, "77", "--lines=2"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"line 998\nline 999\n"
    job.log.unlink()
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stdout == b""
    assert b"has printed nothing yet" in done.stderr
    job.tell("running")
    argv = [sys.executable, *FOLLOW, "77", "--json"]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "corral logs --follow JOB" in refused.stderr


def test_a_terminal_shows_controls_and_ctrl_c_ends_it(job: Job, terminal: Opens) -> None:
    """Without a traceback."""
    job.say(b"first\n\x1b]0;own")
    screen = terminal(*FOLLOW, "77")
    screen.until("first")
    job.say(b"ed\x07\n\xc2")
    screen.until("\\x1b]0;owned\\x07")
    job.say(b"\x9b2J and more\n")
    screen.until("\\x9b2J and more")
    screen.press(CTRL_C)
    assert screen.end() == 130
    assert "Traceback" not in screen.text
    assert screen.is_sane


@given(raw=st.binary(max_size=60) | st.text(max_size=40).map(str.encode), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_however_it_is_cut_it_is_escaped_as_a_whole(raw: bytes, cuts: list[int]) -> None:
    """Within a character, and between the two that end a line, too."""
    said: list[str] = []
    writer = Writer(is_terminal=True, say=said.append)
    at = 0
    for cut in [*sorted(cuts), len(raw)]:
        writer.write(raw[at:cut])
        at = max(at, cut)
    writer.finish()
    assert "".join(said) == printable_lines(raw.decode(errors="replace"))


def test_a_file_is_read_on_where_it_was_left(tmp_path: Path) -> None:
    """Another file of the same name, and a shorter one, from the beginning."""
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    seen, piece = HERE.after(str(path), "", 4)
    assert piece == b"abcd"
    seen, piece = HERE.after(str(path), seen, 4)
    assert piece == b"ef"
    again, piece = HERE.after(str(path), seen, 4)
    assert (again, piece) == (seen, b"")
    path.write_bytes(b"xy")
    seen, piece = HERE.after(str(path), seen, 4)
    assert piece == b"xy"
    shutil.copy(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    assert HERE.after(str(path), seen, 4)[1] == b"xy"
    with pytest.raises(FileNotFoundError):
        HERE.after(str(tmp_path / "none"), "", 4)


@pytest.mark.real("sshd")
def test_a_log_on_another_host_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd) -> None:
    """Through the same connection as everything else."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DASK_CORRAL__SSH", sshd.words)
    job = Job(tmp_path, via="ssh://centre", python=(sys.executable,))
    job.say(b"there\n")
    out = tmp_path / "out"
    with out.open("wb") as stdout, subprocess.Popen([sys.executable, *FOLLOW, "77"], stdout=stdout) as process:
        until(out, b"there\n")
        job.say(b"more\n")
        until(out, b"more\n")
        job.tell("completed")
        assert process.wait(60) == 0
    assert out.read_bytes() == b"there\nmore\n"
