"""What a batch system, a job or a file says reaches no terminal, exception, repr or page as a command."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from corral import Cluster, hookimpl
from corral.cli import main
from corral.cli.tables import say, show
from corral.cluster.registry import Entry, JobLine
from corral.errors import (
    BatchSystemUnavailable,
    CommandFailed,
    CorralError,
    JobsFailed,
    ParseError,
    PluginError,
    SubmitRejected,
    WorkersNotReady,
)
from corral.host.home import Home
from corral.jobs.nodes import Node
from corral.jobs.record import JobFailure, JobRecord, Jobs, Outcome
from corral.plugin.values import Command, Completed, JobId, JobState, JobStatus
from corral.remote.messages import error_to_plain, to_error
from corral.text.printable import html, printable, printable_lines

#: Clears the screen, sets the title, rings, goes back, turns the line around, hides itself, ends the markup.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\x08\x9b31m\u202egnp.\u2066\u200b\x7f\udcff<script>alert(1)</script>&\"'\x00end"


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


def is_harmless(text: str, *, lines: bool = True) -> bool:
    """True if no terminal obeys any of it, and it says what it holds."""
    kept = "\n\t" if lines else ""
    obeyed = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202e\u2066\u200b"]
    return not [c for c in obeyed if c not in kept]


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_printable_once_and_for_all(text: str) -> None:
    """Also one with lone surrogates, which no terminal takes; a second time changes nothing."""
    assert is_harmless(printable(text), lines=False)
    assert is_harmless(printable_lines(text))
    assert printable(printable(text)) == printable(text)
    printable_lines(text).encode()


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"])))
def test_what_people_write_is_left_alone(text: str) -> None:
    """In whatever script."""
    assert printable(text) == text
    assert printable_lines(f"\t{text}\n") == f"\t{text}\n"


def test_escapes_are_those_of_python() -> None:
    """So that a reader knows what was there; the end of a line is one, however it is written."""
    assert printable("\x1b[31m\u202e\udcff\n") == r"\x1b[31m\u202e\udcff\n"
    assert printable_lines("a\r\nb\rc") == "a\nb\\rc"
    assert html('<b>"\x1b') == "&lt;b&gt;&quot;\\x1b"


RECORD = JobRecord(
    id=JobId(f"77{HOSTILE}"),
    status=JobStatus(state=JobState.FAILED, native=HOSTILE, reason=HOSTILE, hosts=[HOSTILE]),
    nodes=(Node(index=0, host=HOSTILE, is_lost=True), Node(index=1)),
    log=f"/logs/{HOSTILE}",
)
FAILURE = JobFailure(job=RECORD, outcome=Outcome.DIED, log_tail=[HOSTILE, HOSTILE], hint=HOSTILE)
FAILED = Completed(argv=["sbatch", HOSTILE], returncode=1, stdout="", stderr=HOSTILE)
ERRORS = [
    CommandFailed(Command(["sbatch", HOSTILE]), FAILED),
    ParseError(HOSTILE, HOSTILE),
    SubmitRejected(HOSTILE),
    BatchSystemUnavailable(HOSTILE),
    JobsFailed(HOSTILE, [FAILURE]),
    WorkersNotReady(0, 1, 1.0, HOSTILE),
    PluginError("mine", HOSTILE, distribution=HOSTILE),
    CorralError(HOSTILE),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_printable(error: CorralError) -> None:
    """By str and repr, and when they have travelled from a scheduler's job."""
    assert "end" in str(error)
    assert is_harmless(str(error))
    assert is_harmless(repr(error))
    assert is_harmless(str(to_error(error_to_plain(error))))


@pytest.mark.parametrize("shown", [RECORD, Jobs([RECORD], 1, printable(HOSTILE)), FAILURE, RECORD.nodes[0]], ids=repr)
def test_what_is_known_of_jobs_is_printable(shown: object) -> None:
    """By str and repr."""
    assert is_harmless(str(shown))
    assert is_harmless(repr(shown))


class Hostile:
    """A batch system that says such things of every job."""

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        conversation = yield
        return self._poll(conversation)

    def _poll(self, conversation: Any) -> Any:
        known = yield from conversation
        return {
            job_id: JobStatus(state=status.state, reason=HOSTILE, native=HOSTILE, hosts=[HOSTILE])
            for job_id, status in known.items()
        }


def test_a_cluster_of_a_hostile_batch_system_is_printable(tmp_path: Path) -> None:
    """Its repr, its page, its errors, and what corral ps says of it."""
    options = {"directory": str(tmp_path / "queue"), "cores": 4, "memory": "4GB"}
    with Cluster(
        backend="local", memory="200MB", interface="lo", backend_options=options, plugins=[Hostile()],
        name="<img src=x onerror=alert(1)>", extra_directives=["--hold"],
    ) as cluster:  # fmt: skip
        cluster.scale(1)
        error = None
        for _ in range(100):
            with pytest.raises(WorkersNotReady) as told:
                cluster.wait_for_workers(1, timeout=0.2)
            error = told.value
            if "owned" in str(error):
                break
        assert "owned" in str(error)
        assert is_harmless(str(error))
        assert "owned" in repr(cluster)
        assert is_harmless(repr(cluster))
        for page in (cluster._repr_html_(), cluster._scaling_status()):
            assert is_harmless(page)
            assert not re.search(r"<(img|script)", page)
        assert "&lt;img src=x onerror=alert(1)&gt;" in cluster._repr_html_()
        assert "owned" in cluster._scaling_status()
        for words in (["ps"], ["ps", "--why"], ["logs"], ["clean"], ["ps", "--json"]):
            said = CliRunner().invoke(main, words).output
            assert is_harmless(said), said


def registered(tmp_path: Path, log: Path | None = None) -> None:
    """A registry file that says such things."""
    path = HOSTILE if log is None else str(log)
    line = JobLine(id="77", group=HOSTILE, state=HOSTILE, reason=HOSTILE, hosts=[HOSTILE], log=path)
    entry = Entry(name="mine", uuid="a" * 32, backend="local", jobs=[line], why={HOSTILE: HOSTILE})
    entry.write()
    # What is no cluster's is told, in words that may hold what it says.
    odd = {**json.loads(entry.path.read_text()), "name": f"mine{HOSTILE}", "uuid": "b" * 32}
    with Home.of().folder("registry") as folder:
        folder.write_new(f"{'b' * 32}.json", json.dumps(odd))


@pytest.mark.parametrize(
    "words", [["ps"], ["ps", "--why"], ["logs"], ["clean"], ["logs", "78"], ["ps", "--json"]], ids=" ".join
)
def test_what_the_registry_says_is_printable(tmp_path: Path, words: list[str]) -> None:
    """Whoever wrote it."""
    registered(tmp_path)
    done = CliRunner().invoke(main, words)
    assert is_harmless(done.output), done.output
    assert is_harmless(done.stderr), done.stderr


def test_versions_of_batch_systems_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    """In the table of corral backends, and in whatever else is shown as one."""
    show(("backend", "version"), [("slurm", HOSTILE)])
    say(HOSTILE)
    said = capsys.readouterr().out
    assert "owned" in said
    assert is_harmless(said)


def test_a_reader_that_has_seen_enough_is_no_failure_to_tell() -> None:
    """As in `corral schema | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli", "schema"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_log_is_shown_to_a_terminal_and_given_to_a_pipe(tmp_path: Path) -> None:
    """A terminal obeys nothing of it; a program gets the file, byte by byte."""
    log = tmp_path / "77.log"
    raw = HOSTILE.encode("utf-8", "surrogateescape") + b"\xff\xfe\nlast \x1b[31mline\r\n"
    log.write_bytes(raw)
    registered(tmp_path, log)
    argv = [sys.executable, "-m", "corral.cli", "logs", "77"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == raw
    assert subprocess.run([*argv, "--lines=1"], capture_output=True, check=True).stdout == b"last \x1b[31mline\r\n"
    leader, terminal = pty.openpty()
    with subprocess.Popen(argv, stdout=terminal, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(leader, 65536):
                shown += piece
        except OSError:
            pass  # the terminal's other end is closed
    os.close(leader)
    assert process.returncode == 0
    text = shown.decode().replace("\r\n", "\n")
    assert "owned" in text
    assert is_harmless(text), text


def test_json_is_for_programs(tmp_path: Path) -> None:
    """It keeps the text as it is, in its own escapes."""
    registered(tmp_path)
    [entry] = [json.loads(line) for line in CliRunner().invoke(main, ["ps", "--json"]).stdout.splitlines()]
    assert entry["jobs"][0]["reason"] == HOSTILE
    assert entry["why"] == {HOSTILE: HOSTILE}
