"""Work that takes longer than any of the jobs that do it."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chores import leave_a_mark, mark_begin_and_end
from dask.base import annotate
from distributed import Client
from incidents import Incident
from real_life import Slurm, slurm_cluster

from corral import JobState

# They wait for walltimes most of the time: .ci/run has them run beside everything else, with the soak.
pytestmark = [
    pytest.mark.real("slurm"),
    pytest.mark.needs("control", "testbed"),
    pytest.mark.soak,
    pytest.mark.timeout(900),
]

Eventually = Callable[..., None]

TASKS = 300


@pytest.mark.fault("every job ends after a minute, in the middle of three minutes of work for each of four")
def test_jobs_of_a_minute_do_the_work_of_three(incident: Incident, tmp_path: Path) -> None:
    """Every task runs exactly once."""
    marks = tmp_path / "marks"
    # Each may have its replacement beside it.
    with slurm_cluster(walltime="00:01:00") as cluster, Client(cluster) as client, incident.watched(cluster.name, 8):
        incident.begins()
        cluster.scale(4)
        futures = client.map(leave_a_mark, range(TASKS), marks=str(marks), seconds=2.5)
        assert client.gather(futures) == list(range(TASKS))
        incident.is_over()
        jobs = cluster.jobs
        assert not cluster.failures or all(failure.outcome.value == "lost" for failure in cluster.failures)
        assert {JobState.COMPLETED} == {job.state for job in jobs if job.has_ended}, "none was cut off by Slurm"
        assert sum(job.unfinished_tasks + job.lost_results for job in jobs) == 0
    incident.ran_once(marks, TASKS)
    assert len(jobs) >= 12


def begun_and_finished(marks: Path) -> tuple[Counter[int], Counter[int]]:
    """How often each task was begun, and finished."""
    begun, finished = (
        Counter(map(int, path.read_text().split())) if path.exists() else Counter()
        for path in (Path(f"{marks}-begun"), Path(f"{marks}-finished"))
    )
    return begun, finished


@contextmanager
def held(slurm: Slurm) -> Iterator[None]:
    """What waits does not start meanwhile; what runs goes on."""
    slurm.run("scontrol", "update", "partitionname=batch", "state=down")
    try:
        yield
    finally:
        slurm.run("scontrol", "update", "partitionname=batch", "state=up")


@pytest.mark.fault("every job ends in the middle of two rounds of long tasks for each of four")
def test_long_tasks_are_begun_where_they_can_be_finished(incident: Incident, tmp_path: Path) -> None:
    """24 tasks of 14 s on jobs of a minute, one after the other: none is cut off, and little time is lost."""
    marks = tmp_path / "marks"
    with slurm_cluster(walltime="00:01:00") as cluster, Client(cluster) as client, incident.watched(cluster.name, 8):
        cluster.scale(4)
        client.wait_for_workers(4, timeout=60)
        incident.begins()
        client.gather(client.map(mark_begin_and_end, range(24), marks=str(marks), seconds=14))
        incident.is_over()
        account = cluster.account()
    begun, finished = begun_and_finished(marks)
    assert sum(begun.values()) <= 25
    assert finished == dict.fromkeys(range(24), 1)
    assert account.total > 0.09
    assert sum(usage.interrupted for usage in account.groups.values()) < 0.005
    incident.tell("tasks lost", sum(begun.values()) - 24)


@pytest.mark.fault("all jobs end, and the queue lets none of their replacements start")
def test_results_outlive_a_time_without_jobs(
    incident: Incident, slurm: Slurm, eventually: Eventually, tmp_path: Path
) -> None:
    """What was finished is kept in files, 160 MB of it, read back by new jobs, and computed once."""
    marks = tmp_path / "marks"
    with slurm_cluster(walltime="00:01:00") as cluster, Client(cluster) as client, incident.watched(cluster.name, 8):
        cluster.scale(4)
        client.wait_for_workers(4, timeout=60)
        with held(slurm):
            incident.begins()
            futures = client.map(mark_begin_and_end, range(16), marks=str(marks), seconds=10, size=10_000_000)
            eventually(lambda: cluster.scheduler is not None and len(cluster.observed) == 0, lambda: repr(cluster), 120)
            eventually(lambda: len(slurm.queue(cluster.name, "PENDING")) == 4, lambda: repr(cluster), 60)
        assert sum(map(len, client.gather(futures))) == 160_000_000
        incident.is_over()
        assert not cluster.failures
    begun, finished = begun_and_finished(marks)
    assert begun == finished == dict.fromkeys(range(16), 1)
    incident.tell("tasks lost", 0)


@pytest.mark.parametrize("are_annotated", [False, True], ids=["durations unknown", "durations annotated"])
@pytest.mark.fault("jobs of a minute end among 30 tasks of 1 to 25 s")
def test_tasks_of_all_lengths(incident: Incident, tmp_path: Path, are_annotated: bool) -> None:
    """At most two are cut off where nobody knew how long they take, and none where somebody said so."""
    marks = tmp_path / "marks"
    seconds = [1 + 24 * number / 29 for number in range(30)]
    random.Random(20261128).shuffle(seconds)
    with slurm_cluster(walltime="00:01:00") as cluster, Client(cluster) as client, incident.watched(cluster.name, 8):
        cluster.scale(4)
        client.wait_for_workers(4, timeout=60)
        incident.begins()
        futures = []
        for number, each in enumerate(seconds):
            with annotate(**({"expected_duration": each} if are_annotated else {})):
                futures.append(client.submit(mark_begin_and_end, number, marks=str(marks), seconds=each))
        client.gather(futures)
        incident.is_over()
    begun, finished = begun_and_finished(marks)
    assert finished == dict.fromkeys(range(30), 1)
    assert sum(begun.values()) - 30 <= (0 if are_annotated else 2)
    incident.tell("tasks lost", sum(begun.values()) - 30)


@pytest.mark.fault("a task takes longer than any job lasts")
def test_a_task_that_no_job_can_finish_is_told_and_not_begun_for_ever(
    incident: Incident, eventually: Eventually, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By name, within a minute of its first interruption; and it is not begun a third time."""
    marks = tmp_path / "marks"
    with (
        caplog.at_level(logging.WARNING, "corral"),
        slurm_cluster(walltime="00:01:00") as cluster,
        Client(cluster) as client,
        incident.watched(cluster.name, 4),
    ):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        future = client.submit(mark_begin_and_end, 1, marks=str(marks), seconds=600)
        eventually(lambda: "1 task unfinished" in caplog.text, lambda: caplog.text, 90)
        incident.begins()
        eventually(lambda: "that much time for it" in caplog.text, lambda: caplog.text, 60)
        incident.is_noticed()
        assert future.key in caplog.text
        # The jobs of another round come and go.
        ended = sum(job.has_ended for job in cluster.jobs)
        eventually(lambda: sum(job.has_ended for job in cluster.jobs) >= ended + 2, lambda: repr(cluster), 120)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        future.cancel()
    assert begun_and_finished(marks)[0][1] <= 2


_CLIENT = """
import sys
from chores import mark_begin_and_end
from distributed import Client
from real_life import slurm_cluster

with slurm_cluster(walltime="00:01:00", name="doomed") as cluster, Client(cluster) as client:
    cluster.scale(2)
    client.wait_for_workers(2, timeout=60)
    futures = client.map(mark_begin_and_end, range(4), marks=sys.argv[1], seconds=5, size=50_000_000)
    client.gather(futures)
    cluster.scale(0)
    while cluster.observed:
        client.run_on_scheduler(lambda: None)
    print("parked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.fault("the client is killed while its results are in files")
def test_files_of_a_killed_client_are_cleaned(incident: Incident, state_directory: Path, tmp_path: Path) -> None:
    """`corral clean` removes them with the rest."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DASK_CORRAL__COMMANDS_PER_MINUTE": "1000"}
    client = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(tmp_path / "marks")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=tmp_path,
    )  # fmt: skip
    assert client.stdin is not None
    assert client.stdout is not None
    with client.stdin, client.stdout:
        assert client.stdout.readline() == "parked\n"
        assert len(list(state_directory.glob("clusters/*/parked/*.result"))) == 4
        client.send_signal(signal.SIGKILL)
        client.wait()
    incident.begins()
    subprocess.run([sys.executable, "-m", "corral.cli", "clean", "--yes"], check=True, env=environ)
    assert not list(state_directory.glob("clusters/*"))
    incident.is_over()
