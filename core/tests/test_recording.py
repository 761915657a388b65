"""What is written down of a live batch system: files that the kit reads, without names, of jobs of one's own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.batch.client import BatchSystem
from corral.cli.disguise import Disguise
from corral.errors import CommandFailed
from corral.plugin import (
    Command,
    Completed,
    Conversation,
    Job,
    JobId,
    JobState,
    JobStatus,
    ParseError,
    Script,
    hookimpl,
)
from corral.plugin.validation import NamedPlugin, assemble
from corral.recording.declaring import Declarer
from corral.recording.inside import selected
from corral.recording.life import Life, prepared, unknown_id
from corral.recording.talk import Taken
from corral.recording.transcripts import file_names, written
from corral.testing import load, transcript

# --- files ------------------------------------------------------------------------------------------------------

TEXT = st.text("ab1 |:\n", max_size=20).map(lambda text: text if not text or text.endswith("\n") else text + "\n")


@given(code=st.integers(0, 255), out=TEXT, errors=TEXT)
def test_the_kit_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, code: int, out: str, errors: str
) -> None:
    """Also of a command that printed to both, or failed and printed to the wrong one."""
    path = tmp_path_factory.getbasetemp() / "answer.txt"
    path.write_text(written(Completed(argv=["squeue", "-o", "%i|%T"], returncode=code, stdout=out, stderr=errors)))
    read = transcript(path)
    assert (code, out, errors) == (read.returncode, read.stdout, read.stderr)
    assert read.argv == ("squeue", "-o", "%i|%T")


def test_a_script_among_the_arguments_is_one_line(tmp_path: Path) -> None:
    """A transcript begins with one line that is the command."""
    text = written(Completed(argv=["run", "#!/bin/sh\necho\n"], stdout="7\n"))
    assert text.splitlines() == ["$ run '#!/bin/sh …'", "7", "[rc=0]"]


def test_each_command_has_a_file_of_its_own() -> None:
    """Also where two conversations are about the same."""
    assert list(file_names([("poll", 2), ("find", 0), ("poll", 1)])) == [["poll.txt", "poll-2.txt"], [], ["poll-3.txt"]]


# --- names ------------------------------------------------------------------------------------------------------


def test_programs_still_read_what_is_disguised() -> None:
    """A host's number stays, lists of hosts too, and columns keep their places."""
    disguise = Disguise()
    disguise.hide("user", "rosalind")
    disguise.hide("home", "/home/rosalind")
    disguise.hide("host", "cn017.kings.ac.uk", "gateway")
    table = "JOB  OWNER     NODES\n7    rosalind  cn[016-017,3]\n"
    assert disguise(table) == "JOB  OWNER     NODES\n7    alice     node[016-017,3]\n"
    assert disguise("cn1.kings.ac.uk:/home/rosalind/x by rosalind@gateway") == (
        "node1.example.org:/home/alice/x by alice@login"
    )


def test_addresses_and_mail_are_disguised() -> None:
    """Loopback and versions are not addresses."""
    disguise = Disguise()
    disguise.keep("10.1.0.6")
    said = "10.1.0.6 at 10.2.3.4:6817, 127.0.0.1, fe80::1ff:fe23, 22.05.8, 00:10:00 1:02:03:04; tell boss@kings.ac.uk"
    assert disguise(said) == (
        "10.1.0.6 at 192.0.2.1:6817, 127.0.0.1, 2001:db8::2, 22.05.8, 00:10:00 1:02:03:04; tell someone@example.org"
    )
    disguise.hide("host", "10.2.3.4", "fe80::1ff:fe23")
    assert disguise("fe80::1ff:fe23 is a node") == "2001:db8::2 is a node"
    assert disguise("10.2.3.4 and 10.2.3.5") == "192.0.2.1 and 192.0.2.3"


def test_of_a_jobs_environment_what_the_batch_system_said_is_kept() -> None:
    """What the backend reads, what there was not outside, and no secret that nobody reads."""
    inside = {
        "TIDE_ID": "7", "TIDE_TOKEN": "s3cret", "TIDE_COOKIE": "s3cret", "HOME": "/home/mary", "PATH": "/bin",
        "EDITOR": "ed", "SLURM_JOB_ID": "3",
    }  # fmt: skip
    found = selected(inside, read={"TIDE_TOKEN", "HOME"}, outside={"HOME", "EDITOR"})
    assert found == {
        "HOME": "/home/mary",
        "SLURM_JOB_ID": "3",
        "TIDE_COOKIE": "hidden",
        "TIDE_ID": "7",
        "TIDE_TOKEN": "s3cret",
    }


@pytest.mark.parametrize(
    ("text", "unknown"), [("7_0", "500007_0"), ("77[0].pbs", "500077[0].pbs"), ("1.2", "500001.2"), ("x", None)]
)
def test_an_unknown_id_is_made_of_a_known_one(text: str, unknown: str | None) -> None:
    """It has the form of the batch system's own."""
    found = unknown_id(JobId(text, where="here"))
    assert unknown == (found and found.text)
    assert found is None or found.where == "here"


# --- an unfinished backend --------------------------------------------------------------------------------------


class Tide:
    """A batch system on paper: `said` has what its commands were, `listed` what it lists under any name."""

    def __init__(self, folder: Path, answer: str, listed: str) -> None:
        self.folder, self.answer, self.listed = folder, answer, listed

    def _say(self, text: str) -> Command:
        return Command(["printf", "%s", text])

    @hookimpl
    def render_script(self, job: Job) -> Script:
        return Script(name=job.name, body="")

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        if "queue" in self.answer:
            raise CommandFailed(self._say(""), Completed(returncode=1))
        done = yield self._say(self.answer)
        if not done.stdout:
            raise ParseError("no id", done.stdout)
        return [JobId(done.stdout)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        yield self._say("")
        return {job_id: JobStatus(state=JobState.PENDING, native="P") for job_id in job_ids}

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield Command(["touch", *(str(self.folder / f"cancelled-{job_id}") for job_id in job_ids)])

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        done = yield self._say(self.listed)
        return [JobId(word) for word in done.stdout.split()]

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        return Job()

    @hookimpl
    def read_allocation(self, environ: dict[str, str]) -> Conversation[None]:
        yield self._say("")

    @hookimpl
    def launch_command(self, allocation: Any, command: Sequence[str]) -> list[list[str]]:
        return [list(command)]

    @hookimpl
    def detect(self) -> Conversation[None]:
        yield Command(["/nonexistent/tide"])


@pytest.fixture
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an end that Tide never reports."""
    monkeypatch.setattr("corral.recording.life.END_PATIENCE", 0.0)


def lived(tmp_path: Path, plugin: object) -> tuple[Life, list[str]]:
    told: list[str] = []
    batch = BatchSystem(backend="tide", manager=assemble(NamedPlugin(name="tide", plugin=plugin), []))
    prepared(tmp_path / "life", [])
    life = Life(
        batch=batch, job=Job(command=["python", "-m", "corral.launch"]), folder=tmp_path / "life", patience=0.0,
        tell=told.append,
    )  # fmt: skip
    asyncio.run(life.live())
    return life, told


@pytest.mark.usefixtures("_nobody_waits")
def test_no_job_is_cancelled_that_is_not_listed_under_its_name(tmp_path: Path) -> None:
    """An unfinished backend took the id of somebody else's job from an answer."""
    life, told = lived(tmp_path, Tide(tmp_path, answer="77", listed=""))
    assert not list(tmp_path.glob("cancelled-77"))
    assert [each.title for each in life.taken if each.hook == "submit"] == ["submit", "submit-array"]
    assert (tmp_path / "life" / "stop").exists()
    assert told[0] == "who is there, and its queues"


@pytest.mark.usefixtures("_nobody_waits")
def test_no_job_is_cancelled_where_a_search_finds_all(tmp_path: Path) -> None:
    """It found jobs before there was one: it is not about names."""
    life, told = lived(tmp_path, Tide(tmp_path, answer="77", listed="77 78"))
    assert not list(tmp_path.glob("cancelled-*"))
    assert "find_jobs does not work yet: no job will be cancelled, they end by themselves" in told
    assert any("may be left 77" in words for words in told)
    assert life.folder_has_use, "the jobs look there for their end"


def test_an_answer_that_is_not_understood_is_recorded_all_the_same(tmp_path: Path) -> None:
    """It is what the backend will be written from."""
    life, _ = lived(tmp_path, Tide(tmp_path, answer="", listed=""))
    recorded = Declarer(manager=life.batch.manager, redact=str).declare(life.taken, [])
    assert "submit.txt" in recorded.files
    assert "# submit.txt: submit raised ParseError: no id" in recorded.declarations
    assert "# version: " in recorded.declarations
    assert "/nonexistent/tide" in recorded.declarations


# --- what it means ----------------------------------------------------------------------------------------------


def test_rows_are_spoilt_so_that_the_laws_take_them() -> None:
    """A word that nobody knows, and a row that cannot be read, each in the row of one job."""
    rows = '{{"job": "1_{}", "state": "RUNNING", "reason": "", "exit_code": null, "signal": null, "submitted": 1.0, ' \
        '"started": 1.0, "host": "n1", "expected_start": null, "ends": null}}\n'  # fmt: skip
    answer = Completed(argv=["status"], stdout=rows.format(0) + rows.format(1) + '{"rows": 2}\n')
    polled = Taken(
        title="poll-running", hook="poll_status", arguments={"job_ids": [JobId("1_0"), JobId("1_1"), JobId("9_9")]},
        answers=[answer],
    )  # fmt: skip
    recorded = Declarer(manager=load("local"), redact=lambda text: text.replace("n1", "node1")).declare([polled], [])
    lines = recorded.declarations.splitlines()
    assert lines[1] == (
        '    Polls(["poll-running.txt"], states={"1_0": JobState.RUNNING, "1_1": JobState.RUNNING}, absent=["9_9"]),'
    )
    assert [line.partition("(")[0] for line in lines if " = " in line] == [
        "recordings = ", "unknown_word = UnknownWord", "garbled_row = GarbledRow",
    ]  # fmt: skip
    assert '"host": "node1"' in recorded.files["poll-running.txt"]


# --- the command ------------------------------------------------------------------------------------------------


def test_who_interrupts_it_leaves_no_job(tmp_path: Path) -> None:
    """What was recorded so far is written, and the exit code is that of Ctrl-C."""
    queue, target = tmp_path / "queue", tmp_path / "recorded"
    options = ["--backend=local", f"--backend-option=directory={queue}", "--backend-option=cores=4", "--site=none"]
    command = [sys.executable, "-m", "corral.cli", "record", *options, f"--output={target}"]
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if "submits 3 jobs" in line:
                process.send_signal(signal.SIGINT)
                break
        told = process.stderr.read()
        declared = process.stdout.read()
    assert (process.returncode, "Traceback" in told) == (130, False), told
    assert "Submits([" in declared
    assert (target / "submit.txt").is_file()
    listed = [sys.executable, "-m", "corral.local", "find", f"--directory={queue}", "--", "dask-rec-*"]
    assert subprocess.run(listed, capture_output=True, text=True, check=True).stdout == '{"rows": 0}\n'
