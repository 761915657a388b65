"""A scheduler in a job of the embedded queue, and handles that come and go."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from distributed import Client

from corral import Cluster, WorkerGroup
from corral.cli import main
from corral.cluster.registry import Entry, entries
from corral.errors import (
    ClusterExists,
    ClusterNotFound,
    CorralError,
    InvalidRequest,
    JobsFailed,
    SchedulerNotReady,
    SubmitRejected,
)
from corral.host.home import MARK, ORDER
from corral.remote.cluster import RemoteCluster
from corral.remote.spec import Draft, Order
from corral.testing.site import LoginNode

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """Of a cluster on a queue of the test's own, with eight cores."""
    return {
        "backend": "local",
        "memory": "200MB",
        "interface": "lo",
        "backend_options": {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"},
        "scheduler": "job",
        "scheduler_options": {"memory": "300MB"},
    }


@pytest.fixture
def cluster(arguments: dict[str, Any]) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters, and ends those that a failed test left."""
    made: list[Cluster] = []

    def make(**others: Any) -> Cluster:
        made.append(Cluster(**{**arguments, **others}))
        return made[-1]

    yield make
    for each in made:
        each.close()
    for entry in list(entries()):
        if not entry.process_is_gone():
            Cluster.connect(entry.name).shutdown()


def eventually(
    condition: Callable[[], object], complaint: Callable[[], str] = lambda: "", timeout: float = 30.0
) -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def operator(tmp_path: Path, *words: str) -> str:
    """What a person does at the shell, behind the cluster's back."""
    command = [sys.executable, "-m", "corral.local", words[0], "--directory", str(tmp_path / "queue"), *words[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Centre(Cluster):
    """How a centre wraps clusters: with words of its own, in an order of its own."""

    def __init__(self, project: str, size: str = "small", **more: Any) -> None:
        self.project = project
        super().__init__(memory={"small": "200MB"}[size], **more)

    def motto(self) -> str:
        return f"{self.project} on {self.name}"


def test_a_subclass_has_its_scheduler_in_a_job(arguments: dict[str, Any]) -> None:
    """It is what it was, as a handle: arguments and methods are its own."""
    del arguments["memory"]
    with Centre("ocean", name="far", **arguments) as c, Client(c) as client:
        assert isinstance(c, Centre)
        assert isinstance(c, RemoteCluster)
        assert type(c).__name__ == "Centre"
        assert c.motto() == "ocean on far"
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
        assert client.submit(sum, [1, 2]).result() == 3
    with pytest.raises(InvalidRequest, match="on_exists"):
        Centre("ocean", **{**arguments, "scheduler": "process", "on_exists": "connect"})


def test_what_a_subclass_says_of_the_scheduler_counts(arguments: dict[str, Any]) -> None:
    """Only its call of the constructor says it."""
    del arguments["scheduler"]

    class Far(Cluster):
        def __init__(self, nodes: int) -> None:
            Cluster.__init__(self, scheduler="job", nodes=nodes, **arguments)

    with Far(1) as c:
        assert "scheduler=job" in repr(c)


def test_the_same_face(cluster: Callable[..., Cluster], state_directory: Path) -> None:
    """Everything that a cluster shows, it shows from afar; what it leaves is nothing."""
    with cluster(name="far", n_workers=2) as c, Client(c) as client:
        assert isinstance(c, Cluster)
        c.wait_for_workers()
        assert client.submit(sum, [1, 2]).result() == 3
        assert len(c.observed) == len(c.workers) == len(c.plan) == 2
        assert "scheduler=job 1_0" in repr(c)
        assert "2 jobs connected" in repr(c)
        assert "2 jobs connected" in c._scaling_status()
        assert "#!/usr/bin/env bash" in c.job_script()
        assert c.logs(c.jobs[0]) is not None
        assert c.groups["default"].memory == "200MB"
        assert c.scheduler_address.startswith("tls://127.0.0.1:")
        assert len(c.scheduler_info["workers"]) == 2
        c.maximum_core_hours = 5.0
        c.maximum_gpu_hours = 2.0
        assert (c.maximum_core_hours, c.maximum_gpu_hours) == (5.0, 2.0)
        eventually(lambda: c.account().total > 0)
        c.add_group("more", WorkerGroup(cores=2, memory="200MB", processes=2, interface="lo"))
        c.scale(more=2)
        c.wait_for_workers(4, timeout=60)
        c.remove_group("more")
        with pytest.raises(InvalidRequest, match="'fast' is none of 'speed', 'balance', 'cost'"):
            c.adapt(maximum=2, prefer="fast")
        adaptive = c.adapt(minimum=1, maximum=2, maximum_gpu_hours=3, prefer=100, gpu_price=20)
        assert (adaptive.minimum, adaptive.maximum, adaptive.state) == (1, 2, "running")
        assert (c.maximum_core_hours, c.maximum_gpu_hours) == (5.0, 3.0)
        adaptive.stop()
        assert adaptive.state == "stopped"
        with pytest.raises(InvalidRequest, match="is not a group of this cluster"):
            c.remove_group("more")
        with urllib.request.urlopen(c.dashboard_link, timeout=30) as page:
            assert page.status == 200
        assert "scheduler in job 1_0" in CliRunner().invoke(main, ["ps"]).output
        # What the process says that plans, on whatever node.
        why = r"^  default: \d jobs? wanted, .*: "
        eventually(lambda: re.search(why, CliRunner().invoke(main, ["ps", "--why"]).output, re.MULTILINE))
        assert "far" in c._repr_html_()
    for page in (c.scheduler_info._repr_html_(), c._scaling_status()):
        assert "Workers" in page, "a closed one can be shown"
    assert "closed" in c._repr_html_()
    with pytest.raises(CorralError, match="is closed: it cannot be scaled"):
        c.scale(1)
    assert "closed" in repr(c)
    assert [path.name for path in state_directory.rglob("*") if path.is_file() and path.suffix != ".jsonl"] == [MARK]


async def test_before_it_starts_it_shows_what_it_will_be(arguments: dict[str, Any]) -> None:
    """As any other cluster does: nobody need have awaited it."""
    there = Cluster(**arguments, name="there", maximum_core_hours=3, maximum_gpu_hours=4, asynchronous=True)
    here = Cluster(**{**arguments, "scheduler": "process", "scheduler_options": {}}, asynchronous=True)
    for c in (here, there):
        assert {name: group.memory for name, group in c.groups.items()} == {"default": "200MB"}
        assert "#!/usr/bin/env bash" in c.job_script()
        assert (c.jobs, c.failures, c.plan, c.account().total) == ((), (), set(), 0)
        assert repr(c).endswith("created)")
    assert (here.maximum_core_hours, there.maximum_core_hours) == (None, 3)
    assert (here.maximum_gpu_hours, there.maximum_gpu_hours) == (None, 4)


CLIENT = """
import sys, time
from corral import Cluster
from distributed import Client
if __name__ == "__main__":
    c = Cluster(**eval(sys.argv[1]), name="kept", n_workers=1)
    with Client(c) as client:
        c.wait_for_workers(timeout=60)
        client.publish_dataset(answer=client.submit(sum, [20, 22]))
        client.get_dataset("answer").result()
        print("ready", flush=True)
        time.sleep(600)
"""


def test_it_outlives_its_client(arguments: dict[str, Any], state_directory: Path) -> None:
    """Killed without a word; another process comes back to the result, grows the cluster and ends it."""
    with subprocess.Popen([sys.executable, "-c", CLIENT, repr(arguments)], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.send_signal(signal.SIGKILL)
    with Cluster.connect("kept") as first, Cluster.connect("kept") as second, Client(second) as again:
        assert again.get_dataset("answer").result() == 42
        first.scale(2)
        second.wait_for_workers(2, timeout=60)
        eventually(lambda: len(first.observed) == len(second.observed) == 2)
    third = Cluster.connect("kept")
    assert len(third.observed) == 2, "closing only let go"
    third.shutdown()
    with pytest.raises(ClusterNotFound, match="there is no cluster 'kept'"):
        Cluster.connect("kept")
    assert [path.name for path in state_directory.rglob("*") if path.is_file() and path.suffix != ".jsonl"] == [MARK]


def test_files_are_private(cluster: Callable[..., Cluster], state_directory: Path) -> None:
    """The order holds the key as the credentials do."""
    with cluster():
        [folder] = (state_directory / "clusters").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
            ORDER: 0o600,
            "credentials.json": 0o600,
        }
        script = next(path for path in folder.iterdir() if path.name == ORDER)
        assert "PRIVATE KEY" in script.read_text()


def test_refusals_are_raised_here(cluster: Callable[..., Cluster], arguments: dict[str, Any]) -> None:
    """With the batch system's own words, whoever asked the engine."""
    with cluster(queue="nosuch", scheduler_options={"memory": "300MB", "queue": None}) as c:
        c.scale(1)
        with pytest.raises(SubmitRejected, match="nosuch"):
            c.wait_for_workers(1, timeout=30)
    with pytest.raises(SubmitRejected, match="nosuch"):
        cluster(queue="nosuch", scheduler_options={"memory": "300MB", "queue": None}, n_workers=1)
    with pytest.raises(SubmitRejected, match="nosuch"):
        cluster(scheduler_options={"memory": "300MB", "queue": "nosuch"})
    assert not list(entries()), "nothing stays of what could not be started"


def test_jobs_that_fail_are_told_here(cluster: Callable[..., Cluster]) -> None:
    """The evidence travels."""
    with cluster(python="/no/such/python", scheduler_options={"memory": "300MB", "python": sys.executable}) as c:
        c.scale(1)
        with pytest.raises(JobsFailed, match=r"3 jobs in a row.*(\n.*)*/no/such/python") as told:
            c.wait_for_workers(1, timeout=60)
        assert [failure.job.exit_code for failure in told.value.failures] == [127, 127, 127]
        eventually(lambda: len(c.failures) == 3)


def test_a_scheduler_s_job_that_fails_is_told(cluster: Callable[..., Cluster]) -> None:
    """With the end of its log."""
    with pytest.raises(JobsFailed, match=r"the scheduler of cluster.*has ended(\n.*)*/no/such/python"):
        cluster(scheduler_options={"memory": "300MB", "python": "/no/such/python"})
    assert not list(entries())


@pytest.mark.parametrize("is_late", [False, True])
def test_a_scheduler_that_cannot_start_says_why(
    cluster: Callable[..., Cluster], state_directory: Path, is_late: bool
) -> None:
    """Its log stays; and the folder, where the batch system brings the log when the job has ended, as PBS does."""
    logs = f"{state_directory}/logs/*"
    late = [
        f"rm {logs}/$CORRAL_JOB_ID.log",
        f"trap 'for each in {logs}; do echo late >\"$each/$CORRAL_JOB_ID.log\"; done' EXIT",
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(JobsFailed, match=r"last lines of its log(\n.*)*") as told:
            cluster(scheduler_options={"memory": "300MB", "port": port}, prologue=late if is_late else [])
    assert ("late" if is_late else "failed to start") in str(told.value)


def test_one_name_one_cluster(cluster: Callable[..., Cluster]) -> None:
    """error, connect, or replace."""
    first = cluster(name="one")
    with pytest.raises(ClusterExists, match="there is a cluster 'one' already"):
        cluster(name="one")
    with cluster(name="one", on_exists="connect") as same:
        assert same.scheduler_address == first.scheduler_address
    with cluster(name="one", on_exists="replace") as other:
        assert other.scheduler_address != first.scheduler_address
        eventually(lambda: "closed" in repr(first))
    with pytest.raises(InvalidRequest, match="on_exists"):
        cluster(name="one", on_exists="ignore")


def test_a_job_that_waits_can_be_given_up(
    cluster: Callable[..., Cluster], arguments: dict[str, Any], tmp_path: Path
) -> None:
    """`corral ps` shows it, connecting says what it waits for, and giving up leaves nothing."""
    held = {"memory": "300MB", "extra_directives": ["--hold"]}

    async def give_up() -> None:
        waiting = asyncio.ensure_future(_made({**arguments, "scheduler_options": held, "name": "waits"}))
        await asyncio.to_thread(eventually, lambda: any(entry.scheduler_job for entry in entries()))
        assert "its scheduler's job 1_0 has not started" in CliRunner().invoke(main, ["ps"]).output
        with pytest.raises(SchedulerNotReady, match="held"):
            await RemoteCluster.to("waits", timeout=1.5, asynchronous=True)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(give_up())
    assert not list(entries())
    assert "CANCELLED" in subprocess.run(
        [sys.executable, "-m", "corral.local", "status", "--directory", str(tmp_path / "queue")],
        check=True, capture_output=True, text=True, input="1_0\n",
    ).stdout  # fmt: skip


async def _made(arguments: dict[str, Any]) -> Any:
    return await Cluster(**arguments, asynchronous=True)


def test_inside_an_event_loop(arguments: dict[str, Any]) -> None:
    """What cannot wait is done in order."""

    async def use() -> None:
        async with Cluster(**arguments, asynchronous=True) as c:
            c.scale(1)
            c.scale(2)
            await c.wait_for_workers(2, timeout=60)
            assert len(c.observed) == 2
            async with Client(c, asynchronous=True) as client:
                assert await client.submit(sum, [1, 2]) == 3

    asyncio.run(use())


def test_an_idle_cluster_ends_itself(cluster: Callable[..., Cluster], state_directory: Path) -> None:
    """Nobody is connected, and nothing would be lost. A result that is kept for somebody keeps it."""
    c = cluster(idle_timeout="4s", n_workers=1)
    with Client(c) as client:
        c.wait_for_workers(timeout=60)
        client.publish_dataset(kept=client.submit(sum, [1, 2]))
    time.sleep(6)
    with Client(c) as client:
        assert client.get_dataset("kept").result() == 3
        client.unpublish_dataset("kept")
    eventually(lambda: "closed" in repr(c), lambda: repr(c))
    eventually(lambda: not list(entries()))


def test_workers_finish_before_the_scheduler_s_walltime(cluster: Callable[..., Cluster]) -> None:
    """It says so to whoever is connected, lets tasks finish, and leaves no job behind."""
    options = {"memory": "300MB", "walltime": "40s"}
    # It may be said while workers are waited for, on a busy machine.
    said = pytest.warns(UserWarning, match="the walltime of its scheduler's job ends in")
    with said, cluster(n_workers=1, scheduler_options=options) as c, Client(c):
        c.wait_for_workers(timeout=60)
        eventually(lambda: "ends:" in repr(c) or "closed" in repr(c), timeout=60)
        eventually(lambda: "closed" in repr(c), lambda: repr(c), timeout=60)
        eventually(lambda: not list(entries()))


def test_a_scheduler_that_dies_is_cleaned(cluster: Callable[..., Cluster], state_directory: Path) -> None:
    """The handle says that it is gone; `corral clean` knows what it left."""
    c = cluster(n_workers=1)
    c.wait_for_workers(timeout=60)
    [entry] = entries()
    os.kill(entry.pid, signal.SIGKILL)
    eventually(entry.process_is_gone)
    assert "removed" in CliRunner().invoke(main, ["clean", "--yes"]).output
    assert not list(entries())
    assert not [path for path in (state_directory / "clusters").rglob("*") if path.is_file()]
    eventually(lambda: "closed" in repr(c), lambda: repr(c), timeout=60)


def test_what_cannot_be_sent_is_refused(arguments: dict[str, Any]) -> None:
    """By name, before anything is submitted."""
    for name, value in {
        "plugins": [type("Mine", (LoginNode,), {"__module__": "__main__"})()],
        "scheduler": "elsewhere",
        "scheduler_options": {"memory": "300MB", "walltime": "00:30"},
        "idle_timeout": "soon",
    }.items():
        with pytest.raises(InvalidRequest, match=name):
            Cluster(**{**arguments, name: value})
    for name in ("on_exists", "idle_timeout", "shutdown_on_close"):
        with pytest.raises(InvalidRequest, match=f"{name}.*scheduler='job'"):
            Cluster(**{**arguments, "scheduler": "process", "scheduler_options": {}, name: 1})


def test_an_order_says_all_that_the_client_said(arguments: dict[str, Any], tmp_path: Path) -> None:
    """It survives its file, and the scheduler's job has its own size and the workers' account."""
    draft = Draft.of({**arguments, "account": "p1", "scheduler_options": {"memory": "1GB", "allowed_failures": 7}})
    draft.order.write(tmp_path / "order")
    assert Order.read(tmp_path / "order") == draft.order
    assert (draft.job.account, draft.job.resources.memory) == ("p1", 10**9)
    assert draft.order.arguments["scheduler_options"] == {"allowed_failures": 7}
    assert "key" not in " ".join(draft.job.command)


def test_only_clusters_that_serve_can_be_connected_to() -> None:
    """The words say where the scheduler is."""
    Entry(name="mine", uuid="ab" * 16, backend="local").write()
    with pytest.raises(ClusterNotFound, match="has its scheduler in process"):
        Cluster.connect("mine")


def test_serve_on_a_node(arguments: dict[str, Any], tmp_path: Path) -> None:
    """The same without a job; SIGTERM ends it and its workers."""
    options = arguments["backend_options"]
    command = [
        sys.executable, "-m", "corral.cli", "serve", "--name=here", "--backend=local", "--memory=200MB",
        "--interface=lo", "--n-workers=1", *(f"--backend-option={name}={value}" for name, value in options.items()),
    ]  # fmt: skip
    said = tmp_path / "said"
    with said.open("w") as file, subprocess.Popen(command, stderr=file) as served:
        try:
            eventually(lambda: "Cluster.connect('here')" in said.read_text(), said.read_text)
            with Cluster.connect("here") as c:
                c.wait_for_workers(1, timeout=60)
                assert f"process {served.pid}" in repr(c)
            served.send_signal(signal.SIGTERM)
            served.wait(30)
        finally:
            served.kill()
    assert "its scheduler got SIGTERM" in said.read_text()
    assert served.returncode == 0
    assert not list(entries())
