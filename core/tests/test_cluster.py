"""A cluster on the embedded queue: real commands, jobs, launchers and workers, and nothing pretended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask.config
import pytest
from click.testing import CliRunner
from distributed import Client

from corral import Cluster, JobState, hookimpl
from corral.cli import main
from corral.cluster import dask_logs
from corral.cluster.registry import entries
from corral.errors import CorralError, InvalidRequest, JobsFailed, SubmitRejected, UnknownBackend, WorkersNotReady
from corral.host.home import MARK
from corral.plugin.values import Command, Completed, Failure, FailureKind, Job, JobId, JobStatus, Script


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters on a queue of the test's own, with eight cores."""

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
        return Cluster(
            **{"backend": "local", "memory": "200MB", "interface": "lo", "backend_options": options, **arguments}
        )

    return make


def eventually(
    condition: Callable[[], object], complaint: Callable[[], str] = lambda: "", timeout: float = 20.0
) -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def operator(tmp_path: Path, *words: str) -> None:
    """What a person does at the shell, behind the cluster's back."""
    subprocess.run(
        [sys.executable, "-m", "corral.local", words[0], "--directory", str(tmp_path / "queue"), *words[1:]], check=True
    )


def test_scale_compute_shrink_close(cluster: Callable[..., Cluster], state_directory: Path) -> None:
    """The whole life of a cluster; what it leaves is a folder with a mark."""
    with cluster() as c, Client(c) as client:
        c.scale(3)
        client.wait_for_workers(3, timeout=60)
        futures = client.map(lambda number: number * 2, range(50))
        assert client.gather(futures) == [number * 2 for number in range(50)]
        assert {job.name for job in c.jobs} == {c.jobs[0].name}, "one submission"
        c.scale(jobs=1)
        eventually(lambda: len(c.observed) == 1, lambda: repr(c))
        assert client.gather(futures) == [number * 2 for number in range(50)]
        eventually(lambda: [job.state for job in c.jobs].count(JobState.COMPLETED) == 2, lambda: repr(c))
        assert not c.failures
    assert {job.state for job in c.jobs} == {JobState.COMPLETED}
    assert repr(c.jobs[0]).startswith(f"<job {c.jobs[0].id}: ended, completed")
    with pytest.raises(CorralError, match="is closed: it cannot be scaled"):
        c.scale(1)
    # The ended jobs' own queue keeps its records; the cluster keeps nothing.
    assert [path.name for path in state_directory.rglob("*") if path.is_file() and path.suffix != ".jsonl"] == [MARK]


def test_no_connection_is_kept_to_a_job_that_has_ended(cluster: Callable[..., Cluster]) -> None:
    """A cluster that lives for days asks thousands of launchers to end."""
    with cluster() as c:
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
        assert c.scheduler is not None
        [worker] = c.scheduler.workers.values()
        c.scale(0)
        eventually(lambda: all(job.has_ended for job in c.jobs), lambda: repr(c))
        assert worker.nanny not in c.scheduler.rpc.available


@pytest.mark.parametrize(
    ("request_", "jobs"),
    [({"n": 5}, 3), ({"jobs": 2}, 2), ({"cores": 5}, 3), ({"memory": "900MB"}, 3), ({"n": 0}, 0)],
    ids=["workers", "jobs", "cores", "memory", "nothing"],
)
def test_every_unit_of_scale_means_whole_jobs(
    cluster: Callable[..., Cluster], request_: dict[str, Any], jobs: int, tmp_path: Path
) -> None:
    """Two cores, two workers and 400 MB a job; what is asked for is rounded up."""
    with cluster(cores=2, processes=2, memory="400MB", extra_directives=["--hold"]) as c:
        c.scale(**request_)
        eventually(lambda: len(c.jobs) == jobs, lambda: repr(c))
        assert len(c.plan) == len(c.requested) == 2 * jobs
        assert not c.observed


@pytest.mark.parametrize(
    "arguments", [{}, {"n": 1, "jobs": 1}, {"n": -1}, {"n": 1.5}, {"memory": "lots"}, {"cores": "4"}]
)
def test_a_size_that_cannot_be_is_refused(cluster: Callable[..., Cluster], arguments: dict[str, Any]) -> None:
    """Nothing changes."""
    with cluster() as c:
        with pytest.raises(InvalidRequest):
            c.scale(**arguments)
        assert not c.plan


def test_a_python_that_does_not_exist_stops_the_group(cluster: Callable[..., Cluster]) -> None:
    """Three deaths trip the breaker; scaling again forgives."""
    with cluster(python="/no/such/python") as c:
        c.scale(1)
        with pytest.raises(JobsFailed, match=r"3 jobs in a row.*(\n.*)*/no/such/python") as told:
            c.wait_for_workers(1, timeout=60)
        assert [failure.job.exit_code for failure in told.value.failures] == [127, 127, 127]
        assert len(c.failures) == len(c.jobs) == 3
        c.scale(1)
        eventually(lambda: len(c.jobs) > 3, lambda: repr(c))


def test_a_refusal_reaches_the_one_who_waits_and_the_context(cluster: Callable[..., Cluster]) -> None:
    """In the batch system's own words, and once."""
    with cluster(queue="nosuch") as c:
        c.scale(2)
        with pytest.raises(SubmitRejected, match="nosuch"):
            c.wait_for_workers(2, timeout=30)
        assert not c.jobs
    with pytest.raises(SubmitRejected, match="nosuch"), cluster(queue="nosuch") as c:
        c.scale(2)
        eventually(lambda: "nosuch" in repr(c))
    with pytest.raises(SubmitRejected, match="nosuch"):
        cluster(queue="nosuch", n_workers=1)


def test_one_cancelled_job_is_replaced_and_all_are_a_wish(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """An operator's hand, seen from the cluster."""
    with cluster() as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=60)
        victim = c.jobs[0].id
        operator(tmp_path, "cancel", victim.text)
        eventually(lambda: len(c.jobs) == 3 and len(c.observed) == 2, lambda: repr(c))
        assert next(job for job in c.jobs if job.id == victim).state is JobState.CANCELLED
        operator(tmp_path, "cancel", *(job.id.text for job in c.jobs if not job.has_ended))
        eventually(lambda: all(job.has_ended for job in c.jobs), lambda: repr(c))
        with pytest.raises(JobsFailed, match="taken to be intended"):
            c.wait_for_workers(2, timeout=10)


def test_the_states_are_no_fiction(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Held, pending and running jobs are shown as such, with reasons; a time-out says where they are."""
    with cluster(extra_directives=["--hold"]) as c:
        c.scale(2)
        eventually(lambda: [job.state for job in c.jobs] == [JobState.HELD] * 2, lambda: repr(c))
        with pytest.raises(WorkersNotReady, match=r"0 of 2 workers after 0\.2 s: 2 jobs held"):
            c.wait_for_workers(2, timeout=0.2)
        operator(tmp_path, "release", c.jobs[0].id.text)
        c.wait_for_workers(1, timeout=60)
        assert sorted(job.state.name for job in c.jobs) == ["HELD", "RUNNING"]
        assert "1 job connected, 1 job held" in repr(c)


def test_workers_that_nobody_asked_for_are_not_waited_for(cluster: Callable[..., Cluster]) -> None:
    """Waiting for ever is no answer."""
    with cluster() as c, pytest.raises(InvalidRequest, match=r"scaled to 0; call scale\(2\) first"):
        c.wait_for_workers(2, timeout=10)


def test_a_dead_worker_of_a_living_job_comes_back(cluster: Callable[..., Cluster]) -> None:
    """That is the nanny's business: the job stays, and no other is submitted."""
    with cluster(cores=2, processes=2, memory="400MB") as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=60)
        pids = client.run(os.getpid)
        victim = next(iter(pids.values()))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(c.observed) < 2)
        client.wait_for_workers(2, timeout=30)
        assert victim not in client.run(os.getpid).values()
        assert len(c.jobs) == 1


def test_two_clusters_and_the_asynchronous_form(cluster: Callable[..., Cluster]) -> None:
    """Side by side in one event loop; a second client comes by address and security."""

    async def use() -> None:
        async with cluster(asynchronous=True) as one, cluster(asynchronous=True, security=False) as two:
            one.scale(1)
            two.scale(1)
            assert one.scheduler_address.startswith("tls://")
            assert two.scheduler_address.startswith("tcp://")
            async with Client(one, asynchronous=True) as first, Client(two, asynchronous=True) as second:
                await first.wait_for_workers(1, timeout=60)
                await second.wait_for_workers(1, timeout=60)
                assert await second.submit(lambda: 42) == 42
                async with Client(one.scheduler_address, security=one.security, asynchronous=True) as third:
                    assert await third.submit(lambda: 43) == 43

    asyncio.run(use())


def test_logs_of_living_and_of_dead_jobs(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """A chosen folder keeps them all; the default keeps those of failed jobs."""
    with cluster(prologue=["echo hello from the prologue"], log_directory=tmp_path / "logs") as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        assert "hello from the prologue" in c.logs(c.jobs[0])
        with pytest.raises(LookupError, match="no job 99_9"):
            c.logs("99_9")
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_a_listener_hears_every_state(cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture) -> None:
    """A plugin object of the user's own; one that fails is named and does no harm."""
    heard: list[tuple[str, JobState]] = []

    class Listener:
        @hookimpl
        def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
            heard.append((job.text, after.state))
            if after.state is JobState.RUNNING:
                raise RuntimeError("the listener's own fault")

    with caplog.at_level(logging.ERROR, "corral"), cluster(plugins=[Listener()]) as c:
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
        job = c.jobs[0].id.text
    assert [state for name, state in heard if name == job] == [JobState.PENDING, JobState.RUNNING, JobState.COMPLETED]
    assert "Listener' failed in job_state_changed" in caplog.text


def test_a_wrapper_of_the_user_s_own_changes_the_request(cluster: Callable[..., Cluster]) -> None:
    """What a site does, done by hand."""

    class More:
        @hookimpl(wrapper=True)
        def prepare_job(self, job: Job) -> Any:
            from attrs import evolve

            prepared = yield
            return evolve(prepared, environment={**prepared.environment, "FROM_THE_SITE": "yes"})

    with cluster(plugins=[More()]) as c:
        assert "export FROM_THE_SITE=yes" in c.job_script()


def test_what_is_wrong_is_refused_before_anything_starts(
    cluster: Callable[..., Cluster], state_directory: Path
) -> None:
    """No folder, no process, no unclosed cluster."""
    for arguments in (
        {"memory": "lots"},
        {"memory": None},
        {"interface": "ib99"},
        {"nodes": 2},
        {"name": "a/b"},
        {"cpus": 2},
    ):
        with pytest.raises(InvalidRequest) as refusal:
            cluster(**arguments)
        assert refusal.value.argument == next(iter(arguments))
    with pytest.raises(UnknownBackend, match="Did you mean 'slurm'"):
        cluster(backend="slrum", backend_options={})
    assert not state_directory.exists()


class AtMost:
    """A batch system that lets a user have so many jobs."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.living: set[JobId] = set()
        self.highest = 0
        self.asked: list[int] = []

    @hookimpl
    def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self.living = self.living - {job} if after.state.is_final else self.living | {job}
        self.highest = max(self.highest, len(self.living))

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Any:
        conversation = yield
        self.asked.append(count)
        if len(self.living) + count <= self.most:
            return conversation
        return self._refuse()

    def _refuse(self) -> Any:
        yield Command(["sh", "-c", "echo you have too many jobs >&2; exit 1"])

    @hookimpl(wrapper=True)
    def classify_failure(self, completed: Completed) -> Any:
        known = yield
        return Failure(kind=FailureKind.LIMIT, message="too many jobs") if "too many" in completed.stderr else known


def test_a_limit_on_jobs_is_filled_and_the_rest_is_kept(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Smaller and smaller submissions find the room that there is; what is left is told, and comes when a job ends."""
    limit = AtMost(3)
    with cluster(plugins=[limit]) as c:
        c.scale(jobs=8)
        # Why is known a moment before the last try is over.
        eventually(lambda: c.jobs.unsubmitted == 5 and c.jobs.why, lambda: repr(c.jobs))
        assert (len(c.jobs), c.jobs.why) == (3, "too many jobs")
        assert repr(c.jobs).endswith("<5 not submitted: too many jobs>")
        assert [8, 4, 2] == limit.asked[:3]
        assert len(limit.asked) < 10
        c.wait_for_workers(3, timeout=60)
        # What other processes see of it.
        why = "default: 8 jobs wanted, 3 work; the last submission failed: try again later (too many jobs)"
        eventually(lambda: why in CliRunner().invoke(main, ["ps", "--why"]).output, lambda: str(entries()))
        operator(tmp_path, "cancel", c.jobs[0].id.text)
        eventually(lambda: len(c.jobs) == 4 and len(c.observed) == 3, lambda: repr(c.jobs))
    assert limit.highest == 3


def test_importing_corral_changes_nothing() -> None:
    """No signal handler, no file, no thread, no distributed before a cluster is asked for."""
    code = (
        "import signal, sys, threading; before = {s: signal.getsignal(s) for s in signal.valid_signals()};"
        "import corral; assert 'distributed' not in sys.modules; corral.Cluster;"
        "assert before == {s: signal.getsignal(s) for s in signal.valid_signals()}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_python_that_exits_without_closing_leaves_no_job(tmp_path: Path) -> None:
    """Scripts end without `with`."""
    code = f"""
from corral import Cluster
c = Cluster(backend="local", memory="200MB", interface="lo", n_workers=1,
            backend_options={{"directory": {str(tmp_path / "queue")!r}, "cores": 2, "memory": "2GB"}})
c.wait_for_workers(1, timeout=60)
print(c.jobs[0].id.text)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100)
    assert ran.stderr == ""
    status = subprocess.run(
        [sys.executable, "-m", "corral.local", "status", "--directory", str(tmp_path / "queue"), ran.stdout.strip()],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "COMPLETED" in status.stdout


def test_a_job_script_becomes_a_cluster(
    cluster: Callable[..., Cluster], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its directives are read, its commands are told, and arguments win."""
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/bash\n#CORRAL --cores=2\n#CORRAL --memory=400MB\n#CORRAL --hold\n# a remark\nmpirun ./simulate\n"
    )
    options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
    with Cluster.from_script(script, backend="local", backend_options=options, interface="lo", processes=2) as c:
        assert "#CORRAL --hold" in c.job_script()
        c.scale(jobs=1)
        assert len(c.plan) == 2
    assert "mpirun ./simulate" in caplog.text
    assert "a remark" not in caplog.text


def test_a_script_is_of_the_configured_batch_system(tmp_path: Path) -> None:
    """As with any other cluster."""
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/bash\n#CORRAL --cores=2\n#CORRAL --memory=400MB\n")
    with dask.config.set({"corral.backend": "local"}), Cluster.from_script(script, interface="lo") as c:
        assert "--cores=2" in c.job_script()


def test_a_log_file_shared_with_dask_keeps_what_corral_says(tmp_path: Path) -> None:
    """Dask's messages are silenced, not the handler that they share with others."""
    shared = logging.FileHandler(tmp_path / "log")
    dask, ours = logging.getLogger("distributed.scheduler"), logging.getLogger("corral")
    logging.getLogger("distributed").addHandler(shared)
    ours.addHandler(shared)
    before = ours.level
    ours.setLevel(logging.INFO)
    try:
        with dask_logs.at_least(logging.WARNING):
            dask.info("dask, quietly")
            ours.info("corral, quietly")
            dask.warning("dask, loudly")
    finally:
        ours.setLevel(before)
        ours.removeHandler(shared)
        logging.getLogger("distributed").removeHandler(shared)
        shared.close()
    assert (tmp_path / "log").read_text().splitlines() == ["corral, quietly", "dask, loudly"]


class _Counter:
    def increment(self) -> int:
        return 1


def test_actors_of_a_job_that_will_leave_are_told(
    cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """Before it happens: nobody can take them over."""
    with caplog.at_level(logging.WARNING, "corral"), cluster(walltime="60s") as c, Client(c) as client:
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
        actor = client.submit(_Counter, actor=True).result()
        eventually(lambda: "holds 1 actor(s)" in caplog.text, lambda: caplog.text)
        assert actor.increment().result() == 1
        assert not any(job.has_ended for job in c.jobs)


def test_a_retired_job_is_no_failure(cluster: Callable[..., Cluster]) -> None:
    """The user's own doing; and as so many jobs are wanted, another comes."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
        client.retire_workers(list(c.scheduler_info["workers"]))
        eventually(lambda: any(job.has_ended for job in c.jobs), lambda: repr(c))
        c.wait_for_workers(1, timeout=60)
        assert c.failures == ()
        assert [job.state for job in c.jobs if job.has_ended] == [JobState.COMPLETED]


def test_connections_of_browsers_end_with_the_cluster() -> None:
    """Those that wait for the next request, too; they would stay open until garbage is collected."""
    with Cluster(backend="local", memory="300MB", interface="lo") as c:
        address = urlsplit(c.dashboard_link)
        browser = socket.create_connection((address.hostname or "", address.port or 0), timeout=20)
        browser.sendall(f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        assert browser.recv(12) == b"HTTP/1.1 200"
    with browser:
        while browser.recv(2**16):
            pass
