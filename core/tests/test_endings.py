"""Whose a cluster is, and how it ends: forks, other threads and event loops, forgotten variables, failing steps."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from corral import Cluster, hookimpl
from corral.domain import Job, JobId, JobStatus, Script
from corral.errors import CorralError, PluginError, SubmitRejected
from corral.registry import entries

MakeCluster = Callable[..., Cluster]


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


@pytest.fixture
def cluster(tmp_path: Path) -> MakeCluster:
    """Makes clusters on a queue of the test's own, with eight cores."""

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
        return Cluster(
            **{"backend": "local", "memory": "200MB", "interface": "lo", "backend_options": options, **arguments}
        )

    return make


def states_of(tmp_path: Path) -> list[str]:
    """The states of all jobs of the test's queue."""
    from corral.local.outlook import describe
    from corral.local.queue import Queue

    queue = Queue(tmp_path / "queue")
    try:
        return sorted(row["state"] for row in describe(queue, queue.keys()))
    finally:
        queue.close()


def eventually(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(tmp_path: Path, script: str, *, timeout: float = 100.0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, where `make(...)` makes a cluster on the test's queue."""
    prelude = f"""
        import asyncio, gc, logging, os, signal, sys, time
        from pathlib import Path
        from corral import Cluster

        def make(**more):
            options = {{"directory": {str(tmp_path / "queue")!r}, "cores": 4, "memory": "4GB"}}
            return Cluster(backend="local", memory="200MB", interface="lo", backend_options=options, **more)

        def files():
            found = [*Path({str(tmp_path / "state")!r}).rglob("*"), *Path({str(tmp_path / "scratch")!r}).rglob("*")]
            return sorted(p.name for p in found if "credentials" in p.name or p.name.startswith("scheduler"))
    """
    text = textwrap.dedent(prelude) + textwrap.dedent(script)
    (tmp_path / "script.py").write_text(text)
    return subprocess.run(
        # Dask's own temporary files are watched as well.
        [sys.executable, "-W", "ignore::DeprecationWarning", str(tmp_path / "script.py")],
        capture_output=True, text=True, timeout=timeout, check=False,
        env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "scratch")}, **options,
    )  # fmt: skip


# --- a cluster belongs to the process that made it --------------------------------------------------------------

CHILDREN = {
    "exits": "sys.exit(0)",
    "closes": "cluster.close(); os._exit(0)",
    "closes and exits": "cluster.close(); sys.exit(0)",
    "shuts down": "cluster.shutdown(); os._exit(0)",
    "drops it": "del cluster; gc.collect(); sys.exit(0)",
    "looks at it": "repr(cluster); cluster.jobs; cluster._repr_html_(); sys.exit(0)",
}


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN.keys())
def test_a_fork_does_not_end_the_cluster_of_its_parent(tmp_path: Path, child: str) -> None:
    """It ends at once, and the parent goes on working."""
    done = run(tmp_path, f"""
        cluster = make()
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=60)
        before = files()
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            {child}
        _, status = os.waitpid(pid, 0)
        print("child", status, "quick" if time.monotonic() - began < 5 else "slow")
        print("same files" if files() == before else files())
        from distributed import Client
        with Client(cluster) as client:
            print(client.submit(lambda: 6 * 7).result(timeout=30))
        cluster.close()
        print(files())
    """)  # fmt: skip
    assert done.stdout.splitlines() == ["child 0 quick", "same files", "42", "[]"], done.stdout + done.stderr
    assert ("belongs to process" in done.stderr) == ("close" in child or "shut" in child), done.stderr
    assert "Traceback" not in done.stderr


def test_a_fork_inside_a_with_block_ends_nothing(tmp_path: Path) -> None:
    """It leaves the block without a word: it has asked for nothing."""
    done = run(tmp_path, """
        with make(n_workers=1) as cluster:
            before = files()
            if (pid := os.fork()) == 0:
                sys.exit(0)
            print(os.waitpid(pid, 0)[1], files() == before)
        print(files())
    """)  # fmt: skip
    assert done.stdout.splitlines() == ["0 True", "[]"], done.stdout + done.stderr
    assert done.stderr == ""


def test_a_child_of_multiprocessing_ends_nothing(tmp_path: Path) -> None:
    """Whatever it does with the cluster that it finds in its memory, it is told whose that is."""
    done = run(tmp_path, """
        import multiprocessing

        def work(results):
            for name in ("close", "scale"):
                try:
                    results.put((name, str(getattr(cluster, name)(*([1] if name == "scale" else [])))))
                except Exception as error:
                    results.put((name, f"{type(error).__name__}: {error}"))

        fork = multiprocessing.get_context("fork")
        cluster = make()
        before = files()
        results = fork.Queue()
        child = fork.Process(target=work, args=(results,))
        child.start()
        print(*results.get(timeout=20))
        print(*results.get(timeout=20))
        child.join(20)
        print(child.exitcode, files() == before)
        cluster.close()
        print(files())
    """)  # fmt: skip
    closed, scaled, *rest = done.stdout.splitlines()
    assert closed == "close None"
    assert scaled.startswith("scale CorralError: cluster 'corral-")
    assert "which was forked from that one: use it there" in scaled
    assert rest == ["0 True", "[]"], done.stdout + done.stderr


def test_a_fork_inside_an_event_loop_ends_nothing(tmp_path: Path) -> None:
    """The child's loop is torn down by SystemExit, and the cluster's own tasks with it."""
    done = run(tmp_path, """
        async def main():
            async with make(asynchronous=True) as cluster:
                before = files()
                if (pid := os.fork()) == 0:
                    sys.exit(0)
                _, status = await asyncio.to_thread(os.waitpid, pid, 0)
                print(status, files() == before)
            print(files())

        asyncio.run(main())
    """)  # fmt: skip
    assert done.stdout.splitlines() == ["0 True", "[]"], done.stdout + done.stderr


def test_a_fork_does_not_end_a_handle_s_cluster(tmp_path: Path) -> None:
    """Nor one whose scheduler is in a job."""
    done = run(tmp_path, """
        cluster = make(scheduler="job", scheduler_options={"memory": "300MB"})
        before = files()
        if (pid := os.fork()) == 0:
            cluster.close()
            sys.exit(0)
        print(os.waitpid(pid, 0)[1], files() == before)
        with Cluster.connect(cluster.name) as again:
            print(again.status.name)
        cluster.close()
        print(files())
    """)  # fmt: skip
    assert done.stdout.splitlines() == ["0 True", "running", "[]"], done.stdout + done.stderr


# --- a cluster that nobody refers to ----------------------------------------------------------------------------


def test_a_cluster_that_nobody_refers_to_is_told(cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """``c = Cluster(...)`` twice in one cell: the first goes on, says its name, and can be had again."""
    c = cluster(name="first")
    c.scale(1)
    c.wait_for_workers(1, timeout=60)
    c = cluster(name="second")
    eventually(lambda: "not referred to" in caplog.text)  # it was being written to the registry
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told.startswith("cluster first is not referred to by any variable any more, and goes on: Cluster('local'")
    assert "Cluster.connect('first').close() ends it" in told
    assert Cluster.connect("second") is c
    c.close()
    again = Cluster.connect("first")
    assert len(again.observed) == 1
    again.scale(2)
    again.wait_for_workers(2, timeout=60)
    again.close()
    assert not list(entries())


def test_a_cluster_in_a_cycle_is_told_too(cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Collected by the garbage collector, which clears weak references first."""
    c = cluster(name="in-a-cycle")
    c.itself = c  # type: ignore[attr-defined]
    del c
    # It is being written to the registry.
    eventually(lambda: gc.collect() and "cluster in-a-cycle is not referred to" in caplog.text)
    again = Cluster.connect("in-a-cycle")
    again.scale(1)
    again.wait_for_workers(1, timeout=60)
    eventually(lambda: [job for entry in entries() for job in entry.jobs if job.workers])
    again.close()


def test_a_cluster_that_a_client_uses_is_referred_to(cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """``client = Client(Cluster(...))`` is how many people write."""
    from distributed import Client

    with Client(cluster()) as client:
        gc.collect()
        assert client.cluster.status.name == "running"
        assert "not referred to" not in caplog.text
        client.cluster.close()


def test_a_closed_cluster_is_no_news_and_is_freed(cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of corral's keeps it."""
    c = cluster()
    c.close()
    gone = weakref.ref(c)
    del c
    gc.collect()
    assert gone() is None
    assert "not referred to" not in caplog.text


def test_a_forgotten_cluster_ends_with_its_process(tmp_path: Path) -> None:
    """Its jobs and its files."""
    done = run(tmp_path, """
        make(name="forgotten", n_workers=1).wait_for_workers(1, timeout=60)
        print("here")
    """)  # fmt: skip
    assert done.stdout == "here\n"
    assert "cluster forgotten is not referred to" in done.stderr
    assert states_of(tmp_path) == ["COMPLETED"]
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file()]


# --- plugins that end programs ----------------------------------------------------------------------------------


class Leaving:
    """A plugin of a user's that raises what ends programs."""

    def __init__(self, error: BaseException, where: str) -> None:
        self.error = error
        self.where = where

    def _leave(self, where: str) -> None:
        if self.where == where:
            raise self.error

    @hookimpl
    def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self._leave("job_state_changed")

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Any:
        prepared = yield
        if job.name.endswith("-2"):  # the first that is submitted after the one that the blueprint draws
            self._leave("prepare_job")
        return prepared

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Any:
        conversation = yield
        return self._conversed(conversation, "submit")

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Sequence[JobId]) -> Any:
        conversation = yield
        return self._conversed(conversation, "poll_status")

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Sequence[JobId]) -> Any:
        conversation = yield
        return self._conversed(conversation, "cancel")

    def _conversed(self, conversation: Any, where: str) -> Any:
        self._leave(where)
        return (yield from conversation)


ENDS = (SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError())


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_a_listener_cannot_end_the_event_loop(
    cluster: MakeCluster, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """It is told with the plugin's name; others hear of the job all the same, and the cluster works and closes."""
    heard = []

    class Listening:
        @hookimpl
        def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
            heard.append(after.state)

    with cluster(plugins=[Leaving(error, "job_state_changed"), Listening()]) as c:
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
    assert len(heard) >= 2
    assert "plugin 'Leaving' failed in job_state_changed" in caplog.text


@pytest.mark.parametrize("where", ["prepare_job", "submit"])
@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_a_hook_cannot_end_the_event_loop(cluster: MakeCluster, error: BaseException, where: str) -> None:
    """Whoever waits for workers hears what it raised, and whose it is."""
    with cluster(plugins=[Leaving(error, where)]) as c:
        if where == "prepare_job":
            c.scale(1)
            c.wait_for_workers(1, timeout=60)
        c.scale(2)
        with pytest.raises((PluginError, SubmitRejected), match=rf"Leaving.*{where}.*{type(error).__name__}"):
            c.wait_for_workers(2, timeout=30)


def test_hooks_that_end_programs_do_not_keep_a_cluster_from_closing(
    cluster: MakeCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one that polls nor the one that cancels."""
    monkeypatch.setattr("corral.cluster.CLOSE_TIMEOUT", 4.0)
    caplog.set_level(logging.INFO, "corral")
    for where in ("poll_status", "cancel"):
        caplog.clear()
        began = time.monotonic()
        c = cluster(plugins=[Leaving(SystemExit(3), where)], extra_directives=["--hold"])
        c.scale(1)
        eventually(lambda: c.jobs)  # noqa: B023 - at once
        c.close()
        assert time.monotonic() - began < 20
        assert f"hook '{where}' raised SystemExit(3)" in caplog.text


def test_an_event_loop_that_was_ended_keeps_no_close_waiting(tmp_path: Path) -> None:
    """By a plugin of Dask's, say, of which corral knows nothing."""
    done = run(tmp_path, """
        cluster = make(n_workers=1)
        cluster.wait_for_workers(1, timeout=60)
        def leave():
            raise SystemExit(3)
        cluster.loop.asyncio_loop.call_soon_threadsafe(leave)
        began = time.monotonic()
        cluster.close()
        print("quick" if time.monotonic() - began < 15 else "slow", cluster.status.name, files())
    """)  # fmt: skip
    assert done.stdout == "quick closed []\n", done.stdout + done.stderr
    assert "its event loop has ended before it was closed" in done.stderr
    assert set(states_of(tmp_path)) <= {"CANCELLED", "COMPLETED", "FAILED"}
