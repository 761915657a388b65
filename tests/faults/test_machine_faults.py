"""A person's cluster on a real Slurm, while something happens to the machine, the network or the process itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from chores import eat_memory, launcher_pid, leave_a_mark
from distributed import Client, KilledWorker
from incidents import Incident
from real_life import Slurm, slurm_cluster, wait_until

from corral import JobState
from corral.errors import CredentialsError, JobsFailed
from corral.jobs.record import Outcome

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("here", "control", "testbed"), pytest.mark.timeout(180)]

Eventually = Callable[..., None]


# --- nodes and queues -------------------------------------------------------------------------------------------


@pytest.mark.fault("preemption: another queue's job takes the node")
def test_a_preempted_job_drains_and_is_replaced(
    incident: Incident, slurm: Slurm, eventually: Eventually, tmp_path: Path
) -> None:
    """It has the grace time to finish what it does; it is told as lost to the machine, and another one comes."""
    marks = tmp_path / "marks"
    # Each job fills a node.
    with (
        slurm_cluster(queue="preempt", cores=64, processes=1) as c,
        Client(c) as client,
        incident.watched(c.name, 2),
        ExitStack() as operator,
    ):
        c.scale(jobs=2)
        client.wait_for_workers(2, timeout=90)
        eventually(lambda: all(job.hosts for job in c.jobs), lambda: repr(c))
        futures = client.map(leave_a_mark, range(600), marks=str(marks), seconds=1)
        victim = c.jobs[0]
        [node] = victim.hosts
        incident.begins()
        preempting = slurm.run(
            "sbatch", "--parsable", "-p", "batch", "-w", node, "-c", "64", "-o", "/dev/null", "--wrap", "sleep 300"
        ).split()[-1]
        operator.callback(slurm.run, "scancel", preempting)
        eventually(lambda: len(c.failures) == 1, lambda: repr(c))
        incident.is_noticed()
        client.wait_for_workers(2, timeout=60)
        eventually(lambda: len([job for job in c.jobs if job.is_connected]) == 2, lambda: repr(c))
        incident.is_over()
        assert client.gather(futures) == list(range(600))
        [failure] = c.failures
        # Slurm 22.05 calls a job COMPLETED that ends in its grace time.
        assert failure.job.state in (JobState.COMPLETED, JobState.PREEMPTED)
        assert (victim.id, Outcome.LOST) == (failure.job.id, failure.outcome)
        assert "left after a warning signal" in str(failure)
        assert (0, 0) == (failure.job.unfinished_tasks, failure.job.lost_results)
        assert len(c.jobs) == 3
    incident.ran_once(marks, 600)


@pytest.mark.fault("an operator drains the node")
def test_a_drained_node_keeps_its_jobs_until_they_end(
    incident: Incident, slurm: Slurm, eventually: Eventually, tmp_path: Path
) -> None:
    """What runs there goes on, what comes goes elsewhere, and what ends there is COMPLETED."""
    marks = tmp_path / "marks"
    with (
        slurm_cluster() as c,
        Client(c) as client,
        incident.watched(c.name, 2),
        ExitStack() as operator,
    ):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        eventually(lambda: c.jobs[0].hosts, lambda: repr(c))
        [node] = c.jobs[0].hosts
        futures = client.map(leave_a_mark, range(100), marks=str(marks), seconds=0.1)
        incident.begins()
        slurm.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        operator.callback(slurm.run, "scontrol", "update", f"nodename={node}", "state=resume")
        c.scale(2)
        client.wait_for_workers(2, timeout=60)
        incident.is_over()
        eventually(lambda: c.jobs[1].hosts, lambda: repr(c))
        assert c.jobs[0].is_connected
        assert c.jobs[1].hosts != (node,)
        assert client.gather(futures) == list(range(100))
        c.scale(1)
        eventually(lambda: sum(job.has_ended for job in c.jobs) == 1, lambda: repr(c))
        assert [JobState.COMPLETED] == [job.state for job in c.jobs if job.has_ended]
        assert not c.failures
    incident.ran_once(marks, 100)


# --- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.fault("a task needs more memory than its worker has")
def test_a_task_that_eats_memory_reaches_its_caller_and_nobody_else(incident: Incident) -> None:
    """Its nanny ends the worker, again and again, until Dask gives the task up; the job goes on."""
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 1):
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        incident.begins()
        with pytest.raises(KilledWorker):
            client.submit(eat_memory).result(timeout=120)
        incident.is_noticed()
        client.wait_for_workers(1, timeout=60)
        assert client.submit(sum, [40, 2]).result(timeout=60) == 42
        incident.is_over()
        assert len(c.jobs) == 1
        assert c.failures
        assert all(failure.cause.startswith("over the memory limit") for failure in c.failures)
        assert not any(failure.job.has_ended for failure in c.failures)
        assert "memory" in c.logs(c.jobs[0])


@pytest.mark.fault("the kernel kills a launcher for its memory")
def test_a_launcher_that_is_killed_is_replaced(incident: Incident, eventually: Eventually, tmp_path: Path) -> None:
    """SIGKILL, as the out-of-memory killer sends it: told with that suspicion, and another job comes."""
    marks = tmp_path / "marks"
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 2):
        c.scale(2)
        client.wait_for_workers(2, timeout=90)
        futures = client.map(leave_a_mark, range(40), marks=str(marks), seconds=0.2)
        launcher, *_ = client.run(launcher_pid).values()
        incident.begins()
        os.kill(launcher, signal.SIGKILL)
        eventually(lambda: c.failures, lambda: repr(c))
        incident.is_noticed()
        [failure] = c.failures
        assert "memory" in str(failure)
        client.wait_for_workers(2, timeout=60)
        incident.is_over()
        # Those that ran on it ran again.
        assert client.gather(futures) == list(range(40))
        assert len(c.jobs) == 3


# --- disks ------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own of 64 kB."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(["size=64k", *options]), "tmpfs", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that has no space left."""
    with small_disk(tmp_path / "full") as folder:
        with pytest.raises(OSError, match="No space left"):
            (folder / "ballast").write_bytes(bytes(100_000))
        yield folder


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "read-only", "ro") as folder:
        yield folder


@pytest.mark.fault("the disk of the logs is full")
def test_a_job_that_cannot_write_its_log_works(
    incident: Incident, eventually: Eventually, full_disk: Path, tmp_path: Path
) -> None:
    """What it has to say is lost; nothing else is."""
    marks = tmp_path / "marks"
    with (
        slurm_cluster(log_directory=str(full_disk)) as c,
        Client(c) as client,
        incident.watched(c.name, 2),
    ):
        incident.begins()
        c.scale(2)
        client.wait_for_workers(2, timeout=90)
        assert list(range(50)) == client.gather(client.map(leave_a_mark, range(50), marks=str(marks), seconds=0.05))
        incident.is_over()
        c.scale(1)
        eventually(lambda: any(job.has_ended for job in c.jobs), lambda: repr(c))
        assert [(JobState.COMPLETED, 0)] == [(job.state, job.exit_code) for job in c.jobs if job.has_ended]
        assert not c.failures
    assert len(c.jobs) == 2
    incident.ran_once(marks, 50)


@pytest.mark.fault("the disk of the credentials is full")
def test_a_cluster_that_cannot_write_its_credentials_says_so(incident: Incident, full_disk: Path) -> None:
    """Before anything is submitted, with the argument that names another folder."""
    incident.begins()
    with pytest.raises(CredentialsError, match=r"No space left.* shared_directory="):
        slurm_cluster(shared_directory=str(full_disk), n_workers=1)
    incident.is_over()
    assert [path.name for path in full_disk.rglob("*") if path.is_file()] == ["ballast"]


@pytest.mark.fault("the home folder is read-only on the node")
def test_a_home_that_is_read_only_is_no_obstacle(incident: Incident, read_only_folder: Path) -> None:
    """Nothing is written there by a job."""
    with slurm_cluster(env={"HOME": str(read_only_folder)}) as c, Client(c) as client, incident.watched(c.name, 1):
        incident.begins()
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        incident.is_over()
        assert client.submit(os.getenv, "HOME").result(timeout=30) == str(read_only_folder)
        assert not c.failures


@pytest.mark.fault("the folder for spilling is read-only on the node")
def test_a_local_directory_that_is_read_only_is_told(incident: Incident, read_only_folder: Path) -> None:
    """With the argument that names it."""
    with slurm_cluster(local_directory=str(read_only_folder)) as c, incident.watched(c.name, 3):
        incident.begins()
        c.scale(3)
        with pytest.raises(JobsFailed, match=r"Read-only file system[^$]*local_directory="):
            c.wait_for_workers(3, timeout=90)
        incident.is_noticed()


# --- the network ------------------------------------------------------------------------------------------------


@pytest.mark.fault("the node cannot reach the scheduler")
def test_a_scheduler_that_cannot_be_reached_is_told(incident: Incident, state_directory: Path) -> None:
    """With every address that was tried, and the argument that names another network."""
    tried = ["tls://127.0.0.1:9", "tls://127.0.0.2:9"]
    with slurm_cluster() as c, incident.watched(c.name, 3):
        [credentials] = state_directory.rglob("credentials.json")
        credentials.write_text(json.dumps(json.loads(credentials.read_text()) | {"addresses": tried}))
        incident.begins()
        c.scale(3)
        with pytest.raises(JobsFailed) as told:
            c.wait_for_workers(3, timeout=90)
        incident.is_noticed()
    for words in (*tried, "connection refused", "exit code 69", "interface="):
        assert words in str(told.value)


# --- the process of the cluster ---------------------------------------------------------------------------------


@pytest.mark.fault("the event loop stalls for 10 s while workers come and go")
def test_a_stalled_event_loop_cancels_no_working_job(
    incident: Incident, eventually: Eventually, tmp_path: Path
) -> None:
    """Whatever was due meanwhile has happened: nobody is taken for dead."""
    marks = tmp_path / "marks"
    with slurm_cluster() as c, Client(c) as client, incident.watched(c.name, 4):
        assert c.loop is not None
        c.scale(2)
        eventually(lambda: c.jobs, lambda: repr(c))
        # Both connect while nobody listens.
        c.loop.add_callback(time.sleep, 10)
        client.wait_for_workers(2, timeout=90)
        c.scale(4)
        client.wait_for_workers(4, timeout=90)
        futures = client.map(leave_a_mark, range(120), marks=str(marks), seconds=0.2)
        incident.begins()
        c.scale(2)
        c.loop.add_callback(time.sleep, 10)
        eventually(lambda: sum(job.has_ended for job in c.jobs) == 2, lambda: repr(c), timeout=60)
        incident.is_over()
        assert client.gather(futures) == list(range(120))
        assert len(c.jobs) == 4
        assert {JobState.COMPLETED} == {job.state for job in c.jobs if job.has_ended}
        assert all(job.is_connected for job in c.jobs if not job.has_ended)
        assert not c.failures
    incident.ran_once(marks, 120)


SCRIPT = """
import atexit, signal, sys, time
from real_life import slurm_cluster

atexit.register(print, "the user's own last words")
with slurm_cluster() as cluster:
    cluster.scale(2)
    cluster.wait_for_workers(2, timeout=90)
    cluster.scale(3)
    print(cluster.name, flush=True)
    time.sleep(600)
"""


@contextmanager
def script(text: str) -> Iterator[subprocess.Popen[str]]:
    """A user's Python script, at its first line of output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        [sys.executable, "-c", f"import signal; signal.signal(2, signal.default_int_handler)\n{text}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.fault("Ctrl-C")
@pytest.mark.parametrize("times", [1, 2, 3], ids=["once", "twice", "three times"])
def test_an_interrupted_script_leaves_nothing(incident: Incident, slurm: Slurm, times: int) -> None:
    """However impatient the user is: no job, no process, no credential, and the user's own atexit has run."""
    with script(SCRIPT) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name.startswith("corral-"), process.communicate()[1]
        with incident.watched(name, 3):
            incident.begins()
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(0.3)
            output, errors = process.communicate(timeout=60)
            wait_until(lambda: not slurm.queue(name), lambda: f"left in the queue: {slurm.queue(name)}", timeout=60)
            incident.is_over()
    assert process.returncode == -signal.SIGINT, errors
    assert "the user's own last words" in output
    assert errors.splitlines()[-1] == "KeyboardInterrupt" or "is ending its jobs" in errors


FORGETFUL = SCRIPT.replace("with slurm_cluster() as cluster:", "cluster = slurm_cluster()\nif True:").replace(
    "    time.sleep(600)\n", ""
)


@pytest.mark.fault("a script ends without closing its cluster")
def test_a_cluster_that_nobody_closed_is_closed_at_exit(incident: Incident, slurm: Slurm) -> None:
    """In an orderly way, although Python has no threads to give any more."""
    with script(FORGETFUL) as process:
        incident.begins()
        output, errors = process.communicate(timeout=90)
        name = output.splitlines()[0]
        with incident.watched(name, 0):
            wait_until(lambda: not slurm.queue(name), lambda: f"left in the queue: {slurm.queue(name)}")
        incident.is_over()
    assert (0, "") == (process.returncode, errors)
    assert output.splitlines()[1:] == ["the user's own last words"]


@pytest.mark.fault("a thousand jobs are to be closed at once")
def test_a_thousand_jobs_are_closed_within_seconds(incident: Incident, slurm: Slurm, eventually: Eventually) -> None:
    """In one command, whatever their number."""
    with slurm_cluster(extra_directives=["--hold"]) as c, incident.watched(c.name, 1000):
        c.scale(1000)
        eventually(lambda: len(c.jobs) == 1000, lambda: repr(c))
        incident.begins()
        c.close()
        incident.is_over()
        assert slurm.queue(c.name) == {}


HANDLERS = """
import atexit, os, signal
from real_life import slurm_cluster

def mine(number, frame):
    print("heard", signal.Signals(number).name, flush=True)

atexit.register(print, "the user's own last words")
numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD)
for number in numbers:
    signal.signal(number, mine)
with slurm_cluster() as cluster:
    cluster.scale(1)
    cluster.wait_for_workers(1, timeout=90)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    print(cluster.name, flush=True)
    for number in numbers[:4]:
        os.kill(os.getpid(), number)
print(all(signal.getsignal(number) is mine for number in numbers[:4]))
"""


@pytest.mark.fault("signals for which the user has handlers of their own")
def test_the_users_own_signal_handlers_run(incident: Incident) -> None:
    """While there is a cluster, and after."""
    with script(HANDLERS) as process:
        incident.begins()
        output, errors = process.communicate(timeout=90)
        incident.is_over()
    assert (0, "") == (process.returncode, errors)
    _, *heard, same, last = [line for line in output.splitlines() if line != "heard SIGCHLD"]
    assert heard == ["heard SIGINT", "heard SIGTERM", "heard SIGUSR1", "heard SIGHUP"]
    assert (same, last) == ("True", "the user's own last words")
