"""Jobs tell by themselves that they have ended: the exit code beside the log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from corral import Cluster, hookimpl, mapped
from corral.errors import JobsFailed
from corral.jobs.exit_codes import ExitFiles, evidence, exit_file, remove
from corral.jobs.record import JobRecord
from corral.plugin.scripting import job_body
from corral.plugin.values import Command, Job, JobId, JobState

# --- what scripts write -----------------------------------------------------------------------------------------

STOPPED = "trap 'exit 3' TERM; trap 'echo warned' USR1; echo ready; while :; do sleep 0.02; done"


def body(folder: Path, *command: str, **fields: Any) -> str:
    return job_body(Job(name="a", command=command, log_directory=str(folder), **fields), job_id="7_1")


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize(
    ("command", "code"), [(("true",), 0), (("sh", "-c", "exit 9"), 9), (("/no/such/python",), 127), (("/etc",), 126)]
)
def test_a_script_writes_its_exit_code(tmp_path: Path, shell: str, command: tuple[str, ...], code: int) -> None:
    """And ends with it."""
    folder = tmp_path / "a b$c'"
    folder.mkdir()
    ran = subprocess.run([shell, "-c", body(folder, *command)], capture_output=True, check=False)
    assert ran.returncode == code
    assert (folder / "7_1.exit").read_text() == f"{code}\n"


def test_a_prologue_that_fails_is_told_too(tmp_path: Path) -> None:
    """A module that is not there, in a shell that stops at the first failure."""
    script = body(tmp_path, "true", prologue=("set -e -o noclobber", "false"))
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 1
    assert (tmp_path / "7_1.exit").read_text() == "1\n"


def test_a_folder_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """Nor worth a line in the log."""
    ran = subprocess.run(["bash", "-c", body(tmp_path / "gone", "true")], capture_output=True, check=True)
    assert ran.stderr == b""


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_signals_reach_the_command_each_time(tmp_path: Path, shell: str) -> None:
    """Batch systems warn the script alone, more than once; its end is the command's."""
    script = body(tmp_path, "bash", "-c", STOPPED)
    with subprocess.Popen([shell, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == "warned\n"
        process.terminate()
        assert process.wait(30) == 3
    assert (tmp_path / "7_1.exit").read_text() == "3\n"


def test_a_script_that_is_killed_by_a_warning_tells_it(tmp_path: Path) -> None:
    """Its command has no handler for the signal."""
    with subprocess.Popen(["bash", "-c", body(tmp_path, "sleep", "600")]) as process:
        while (
            b"sleep" not in subprocess.run(["ps", "--ppid", str(process.pid)], capture_output=True, check=False).stdout
        ):
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert (tmp_path / "7_1.exit").read_text() == "143\n"


# --- what is read -----------------------------------------------------------------------------------------------


@pytest.fixture
def record(tmp_path: Path) -> JobRecord:
    return JobRecord(id=JobId("7_1"), log=str(tmp_path / "7_1.log"))


def test_each_end_is_told_once(record: JobRecord) -> None:
    """A requeued job ends again, under the same id; half a file is none."""
    files, path = ExitFiles(), exit_file(record)
    assert path is not None
    assert files.look([record]) == {}
    path.write_text("12")
    files = ExitFiles()
    assert files.look([record]) == {}
    path.write_text("127\n")
    os.utime(path, (1, 1))
    files = ExitFiles()
    assert _soon(files, record) == {record.id: 127}
    assert ExitFiles.look(files, [record]) == {}
    path.write_text("0\n")
    assert _soon(files, record) == {record.id: 0}
    remove([record])
    assert not path.exists()
    remove([record])


def _soon(files: ExitFiles, record: JobRecord) -> dict[JobId, int]:
    """The next listing, which may not be before some time has passed."""
    deadline = time.monotonic() + 10
    while not (found := files.look([record])) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_links_and_pipes_are_not_read(record: JobRecord, tmp_path: Path) -> None:
    """The folder may be one that others write to."""
    path = exit_file(record)
    assert path is not None
    (tmp_path / "secret").write_text("127\n")
    path.symlink_to(tmp_path / "secret")
    assert ExitFiles().look([record]) == {}
    path.unlink()
    os.mkfifo(path)
    assert ExitFiles().look([record]) == {}


def test_only_a_failure_before_there_was_a_worker_speaks_for_itself(record: JobRecord) -> None:
    """What was signalled may have been cancelled or preempted; what has worked may have been lost."""
    status = evidence(record, 127)
    assert status is not None
    assert (status.state, status.exit_code) == (JobState.FAILED, 127)
    assert evidence(record, 0) is None
    assert evidence(record, 143) is None
    # More than a signal is: Apptainer's own failures.
    assert evidence(record, 255) is not None
    assert evidence(evolve(record, connected_at=5.0), 1) is None


# --- what comes of it -------------------------------------------------------------------------------------------


class Silent:
    """A batch system that takes jobs, and never says what became of them."""

    def change(self, command: Command) -> Command:
        return evolve(command, argv=["sh", "-c", "echo 'try again: nobody is here' >&2; exit 75"])

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return mapped((yield), self.change)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = {"directory": str(tmp_path / "queue"), "cores": 4, "memory": "4GB"}
    plugin = Silent()
    cluster = Cluster(
        backend="local", backend_options=options, memory="200MB", interface="lo", plugins=[plugin],
        python="/no/such/python",
    )  # fmt: skip
    yield cluster
    plugin.change = lambda command: command  # type: ignore[method-assign]
    cluster.close()


def test_a_python_that_does_not_exist_is_told_although_the_batch_system_is_silent(cluster: Cluster) -> None:
    """Three deaths by their own word, and whoever waits hears of the third."""
    cluster.scale(jobs=1)
    with pytest.raises(JobsFailed, match=r"3 jobs in a row(.|\n)*exit code 127(.|\n)*no such Python"):
        cluster.wait_for_workers(1, timeout=60)
    assert [job.exit_code for job in cluster.jobs] == [127, 127, 127]
