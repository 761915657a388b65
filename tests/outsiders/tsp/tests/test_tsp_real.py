"""A life on the real Task Spooler, in a queue of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from corral import Cluster, JobState
from corral.plugin import CommandFailed, Completed, Conversation, Job, Resources
from corral_tsp import Tsp

pytestmark = pytest.mark.skipif(shutil.which("tsp") is None, reason="there is no tsp on PATH")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of four slots; the path of a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="tsp-") as folder:
        monkeypatch.setenv("TS_SOCKET", f"{folder}/socket")
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("TS_SLOTS", "4")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield Path(folder)
        tsp("-K")


def tsp(*words: str) -> str:
    return subprocess.run(["tsp", *words], check=True, capture_output=True, text=True, timeout=20).stdout


def alive() -> int:
    """Jobs in the queue that have not ended."""
    return len(re.findall(r"^\d+ +(?:queued|running) ", tsp(), re.MULTILINE))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, tsp()
        time.sleep(0.1)


def really(conversation: Conversation[Any]) -> Any:
    """What a hook answers when its commands are run."""
    try:
        command = next(conversation)
        while True:
            done = subprocess.run(
                command.argv,
                input=command.stdin,
                env={**os.environ, **command.env},
                capture_output=True,
                text=True,
                check=False,
                timeout=20,
            )
            completed = Completed(argv=command.argv, returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)
            if done.returncode == 0:
                command = conversation.send(completed)
            else:
                command = conversation.throw(CommandFailed(command, completed))
    except StopIteration as stop:
        return stop.value


def cluster(**more: Any) -> Cluster:
    return Cluster(backend="tsp", **{"cores": 1, "memory": "400MB", "walltime": "10m", "interface": "lo", **more})


def test_a_cluster_lives_and_leaves_nothing(queue: Path, tmp_path: Path) -> None:
    """It computes and grows; what dies is told and replaced; scaled to nothing and closed, no job is left."""
    with cluster(log_directory=str(tmp_path / "logs")) as ours, Client(ours) as client:
        ours.scale(1)
        client.wait_for_workers(1, timeout=60)
        assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
        ours.scale(3)
        client.wait_for_workers(3, timeout=60)
        assert sorted(client.run(lambda: os.environ["CORRAL_JOB_ID"]).values()) == ["0", "1", "2"]
        assert alive() == 3
        os.killpg(int(tsp("-p", "1")), 9)
        until(lambda: ours.failures)
        assert [(each.job.id.text, each.job.state, each.job.reason) for each in ours.failures] == [
            ("1", JobState.FAILED, "ended by a signal, or with exit code 255")
        ]
        until(lambda: len(ours.observed) == 3)
        assert "1 worker connected" in ours.logs(ours.failures[0].job)
        ours.scale(0)
        until(lambda: not alive())
        assert client.scheduler_info()["workers"] == {}
        ours.scale(2)
    assert alive() == 0


def test_a_job_ends_with_its_walltime(queue: Path) -> None:
    """Task Spooler would let it run for ever: its launcher does not."""
    backend = Tsp()
    job = Job(name="short", command=["sleep", "600"], walltime=1)
    [job_id] = really(backend.submit(backend.render_script(backend.prepare_job(job)), 1))
    until(lambda: not alive())
    status = really(backend.poll_status([job_id]))[job_id]
    assert (status.state, status.exit_code) == (JobState.TIMEOUT, 124)


def test_what_waits_and_what_runs_is_cancelled_and_no_neighbour(queue: Path) -> None:
    """Of five jobs in four slots; and once more, when they are gone."""
    backend = Tsp()
    script = backend.render_script(backend.prepare_job(Job(name="many", command=["sleep", "600"])))
    ids = really(backend.submit(script, 5))
    until(lambda: all(each in tsp() for each in ("3    running", "4    queued")))
    for _ in range(2):
        really(backend.cancel([ids[1], ids[3], ids[4]]))
        until(lambda: alive() == 2)
    assert really(backend.find_jobs("man*")) == [ids[0], ids[2]]
    really(backend.cancel(ids))
    until(lambda: not alive())


def test_an_exit_code_is_that_of_the_job(queue: Path) -> None:
    """Task Spooler prints it as a signed byte; and it is still there after the job is cancelled, too late."""
    backend = Tsp()
    job = Job(name="failing", command=["sh", "-c", "exit 143"])
    [job_id] = really(backend.submit(backend.render_script(backend.prepare_job(job)), 1))
    until(lambda: not alive())
    really(backend.cancel([job_id]))
    assert really(backend.poll_status([job_id]))[job_id].exit_code == 143


def test_a_job_that_is_too_large_is_explained(queue: Path) -> None:
    backend = Tsp()
    job = Job(name="large", command=["true"], resources=Resources(cores=9))
    [job_id] = really(backend.submit(backend.render_script(backend.prepare_job(job)), 1))
    assert "cores=4" in really(backend.explain_pending(job_id))
    really(backend.cancel([job_id]))
