"""Whose a cluster is, and how it ends: forks, other threads and event loops, forgotten variables, failing steps."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
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
from corral.cluster.registry import entries
from corral.errors import CorralError, PluginError, SubmitRejected
from corral.plugin.values import Job, JobId, JobStatus, Script

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


def files_left(tmp_path: Path) -> list[Path]:
    """What clusters left below the state directory; the mark of corral's own folder stays, and their journals."""
    found = (tmp_path / "state").rglob("*")
    return [
        path for path in found if path.is_file() and path.name != "CORRALDIR.TAG" and path.parent.name != "journals"
    ]


def eventually(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(tmp_path: Path, script: str, *, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
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
        [*before, sys.executable, "-W", "ignore::DeprecationWarning", str(tmp_path / "script.py")],
        capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "scratch")},
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
    assert "which was forked from it: use it there" in scaled
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


def test_a_fork_does_not_end_an_allocation(tmp_path: Path) -> None:
    """In batch mode the workers are children of this very process."""
    done = run(tmp_path, """
        from corral import Allocation
        from distributed import Client
        with Allocation(backend="local", interface="lo", processes=1, threads=1) as cluster:
            cluster.wait_for_workers(1, timeout=60)
            before = files()
            for child in range(2):
                if (pid := os.fork()) == 0:
                    if child:
                        cluster.close()
                    del cluster
                    gc.collect()
                    os._exit(0) if child else sys.exit(0)
                print(os.waitpid(pid, 0)[1], files() == before)
            with Client(cluster) as client:
                print(client.submit(lambda: 6 * 7).result(timeout=30))
        print(files())
    """)  # fmt: skip
    assert done.stdout.splitlines() == ["0 True", "0 True", "42", "[]"], done.stdout + done.stderr


# --- a cluster that nobody refers to ----------------------------------------------------------------------------


def test_a_cluster_that_nobody_refers_to_is_told(cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """``c = Cluster(...)`` twice in one cell: the first goes on, says its name, and can be had again."""
    c = cluster(name="first")
    c.scale(1)
    c.wait_for_workers(1, timeout=60)
    c = cluster(name="second")
    eventually(lambda: "no variable refers to" in caplog.text)  # it was being written to the registry
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told.startswith("no variable refers to cluster first any more, but it is still running: Cluster('local'")
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
    eventually(lambda: gc.collect() and "no variable refers to cluster in-a-cycle" in caplog.text)
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
        assert "no variable refers to" not in caplog.text
        client.cluster.close()


def test_a_closed_cluster_is_no_news_and_is_freed(cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing keeps it, nor its scheduler, which had a worker."""
    c = cluster()
    c.scale(1)
    c.wait_for_workers(1, timeout=60)
    c.close()
    gone = weakref.ref(c), weakref.ref(c.scheduler)
    del c
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert "no variable refers to" not in caplog.text


def test_a_forgotten_cluster_ends_with_its_process(tmp_path: Path) -> None:
    """Its jobs and its files."""
    done = run(tmp_path, """
        make(name="forgotten", n_workers=1).wait_for_workers(1, timeout=60)
        print("here")
    """)  # fmt: skip
    assert done.stdout == "here\n"
    assert states_of(tmp_path) == ["COMPLETED"]
    assert not files_left(tmp_path)


# --- plugins that end programs ----------------------------------------------------------------------------------


class Leaving:
    """A plugin of a user's that raises what ends programs."""

    def __init__(self, error: BaseException, where: str) -> None:
        self.error = error
        self.where = where
        self.times = 0

    def _leave(self, where: str) -> None:
        if self.where == where:
            self.times += 1
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
    cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one that polls nor the one that cancels."""
    monkeypatch.setattr("corral.cluster.cluster.CLOSE_TIMEOUT", 4.0)
    for where in ("poll_status", "cancel"):
        began = time.monotonic()
        plugin = Leaving(SystemExit(3), where)
        c = cluster(plugins=[plugin], extra_directives=["--hold"])
        c.scale(1)
        eventually(lambda: c.jobs)  # noqa: B023 - at once
        c.close()
        assert time.monotonic() - began < 30
        assert plugin.times
        assert c.status.name == "closed"


def test_an_event_loop_that_was_ended_keeps_no_close_waiting(tmp_path: Path) -> None:
    """By a plugin of Dask's, say, of which corral knows nothing."""
    done = run(tmp_path, """
        cluster = make(n_workers=1)
        cluster.wait_for_workers(1, timeout=60)
        port = int(cluster.scheduler_address.rpartition(":")[2])
        def leave():
            raise SystemExit(3)
        cluster.loop.asyncio_loop.call_soon_threadsafe(leave)
        began = time.monotonic()
        cluster.close()
        print("quick" if time.monotonic() - began < 15 else "slow", cluster.status.name, files())
        import psutil
        listening = [each.laddr.port for each in psutil.Process().net_connections() if each.status == "LISTEN"]
        print(port in listening)
    """)  # fmt: skip
    assert done.stdout == "quick closed []\nFalse\n", done.stdout + done.stderr
    assert "its event loop ended before it was closed" in done.stderr
    assert set(states_of(tmp_path)) <= {"CANCELLED", "COMPLETED", "FAILED"}


# --- steps of closing that fail ---------------------------------------------------------------------------------


def unprivileged() -> list[str]:
    """The beginning of a command line for which modes of files count, whoever runs it."""
    if os.getuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root without setpriv: modes of files do not count")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


TROUBLES = {
    "unwritable": "state.chmod(0o500); [folder.chmod(0o500) for folder in state.rglob('*') if folder.is_dir()]",
    # In one step: what is removed piece by piece is written to meanwhile.
    "removed": "state.rename(state.parents[1] / 'gone')",
    "a file in its place": "state.rename(state.parents[1] / 'gone'); state.write_text('')",
    "logs removed": "shutil.rmtree(state / 'logs')",
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
@pytest.mark.parametrize("way", ["sync", "async"])
def test_trouble_while_closing_hides_nothing(tmp_path: Path, trouble: str, way: str) -> None:
    """The user's own exception arrives, what cannot be removed is told, and everything else is closed."""
    body = f"cluster.scale(1); await_workers; {trouble}; raise ZeroDivisionError('the user\\'s own')"
    if way == "sync":
        use = "with make() as cluster:\n    " + body.replace("await_workers", "cluster.wait_for_workers(1, timeout=60)")
    else:
        body = body.replace("await_workers", "await cluster.wait_for_workers(1, timeout=60)")
        use = "async def main():\n    global cluster\n    async with make(asynchronous=True) as cluster:\n"
        use += f"        {body}\nasyncio.run(main())"
    script = f"""
import shutil
state = Path(os.environ["XDG_STATE_HOME"]) / "corral"
try:
{textwrap.indent(use, "    ")}
except ZeroDivisionError as error:
    print(error, "|", cluster.status.name, "|", cluster.scheduler.status.name, "|", error.__context__)
"""
    done = run(tmp_path, script, before=unprivileged())
    assert done.stdout == "the user's own | closed | closed | None\n", done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    is_told = "cluster corral-" in done.stderr and "could not be removed" in done.stderr
    assert is_told == ("500" in trouble or "write_text" in trouble)
    assert states_of(tmp_path) == ["COMPLETED"]


def test_a_step_that_fails_keeps_no_other_from_being_tried(
    cluster: MakeCluster, caplog: pytest.LogCaptureFixture, state_directory: Path
) -> None:
    """A scheduler that cannot be closed, say: the credentials go all the same."""
    c = cluster()
    assert c.scheduler is not None

    async def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a plugin of Dask's")

    close, c.scheduler.close = c.scheduler.close, fail  # type: ignore[method-assign]
    credentials = list(state_directory.rglob("credentials.json"))
    assert credentials
    loop = c.loop
    assert loop is not None
    asyncio.run_coroutine_threadsafe(close(), loop.asyncio_loop).result(30)  # type: ignore[attr-defined]
    c.close()
    assert c.status.name == "closed"
    assert not list(state_directory.rglob("credentials.json"))
    assert "its scheduler could not be closed: RuntimeError: a plugin of Dask's" in caplog.text


def test_a_start_that_fails_is_told_although_its_end_fails_too(tmp_path: Path) -> None:
    """What a user can mend is why it did not start."""
    done = run(tmp_path, """
        from corral.errors import InvalidRequest
        from corral.security.credentials import Credentials
        write = Credentials.write
        def write_and_shut(self, path, **more):
            write(self, path, **more)
            Path(path).parent.chmod(0o500)
        Credentials.write = write_and_shut
        try:
            make(log_directory="/proc/cannot-be-made")
        except InvalidRequest as error:
            print("told", error.argument)
    """, before=unprivileged())  # fmt: skip
    assert done.stdout == "told log_directory\n", done.stdout + done.stderr
    assert "credentials.json" in done.stderr


# --- other threads and event loops ------------------------------------------------------------------------------


def test_a_cluster_is_closed_on_another_event_loop_after_its_own_has_ended(tmp_path: Path) -> None:
    """``asyncio.run`` twice: its jobs are cancelled, its files removed, and that is told."""
    done = run(tmp_path, """
        async def begin():
            cluster = await make(asynchronous=True, n_workers=1)
            await cluster.wait_for_workers(1, timeout=60)
            return cluster

        async def end(cluster):
            await cluster.close()

        cluster = asyncio.run(begin())
        asyncio.run(end(cluster))
        print(cluster.status.name, files())
        asyncio.run(cluster.close())
        cluster.close()
    """)  # fmt: skip
    assert done.stdout == "closed []\n", done.stdout + done.stderr
    assert "its event loop ended before it was closed" in done.stderr
    assert "Exception" not in done.stderr
    assert not set(states_of(tmp_path)) & {"PENDING", "RUNNING"}


@pytest.mark.parametrize(
    "end", ["cluster.close()", "asyncio.run(cluster.close())", "pass", "del cluster", "cluster.shutdown()"]
)
def test_a_cluster_whose_event_loop_has_ended_leaves_nothing(tmp_path: Path, end: str) -> None:
    """However it is closed, or if it is not."""
    done = run(tmp_path, f"""
        async def begin():
            return await make(asynchronous=True, n_workers=1, extra_directives=["--hold"])

        cluster = asyncio.run(begin())
        {end}
    """)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "its event loop ended before it was closed" in done.stderr
    assert states_of(tmp_path) == ["CANCELLED"]
    assert not files_left(tmp_path)


async def test_a_cluster_is_closed_from_another_running_event_loop(cluster: MakeCluster) -> None:
    """In another thread: that closes it on its own."""
    c = await cluster(asynchronous=True, n_workers=1)
    await c.wait_for_workers(1, timeout=60)

    async def elsewhere() -> None:
        await c.close()

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert c.status.name == "closed"
    assert c.scheduler is not None
    assert c.scheduler.status.name == "closed"
    assert [job.state.value for job in c.jobs] == ["completed"]


async def test_a_cluster_is_closed_from_a_thread_without_an_event_loop(cluster: MakeCluster) -> None:
    """There, close() waits."""
    c = await cluster(asynchronous=True)
    await asyncio.to_thread(c.close)
    assert c.status.name == "closed"
    await c.close()


async def test_close_without_await_closes(cluster: MakeCluster) -> None:
    """As in the handler of a signal, which cannot await."""
    c = await cluster(asynchronous=True)
    c.close()
    deadline = time.monotonic() + 30
    while c.status.name != "closed":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_what_close_returns_may_become_a_task(cluster: MakeCluster) -> None:
    """It is a coroutine to asyncio."""
    c = await cluster(asynchronous=True)
    await asyncio.gather(asyncio.create_task(c.close()), c.close())
    assert c.status.name == "closed"


async def test_a_cluster_with_a_loop_of_its_own_is_closed_inside_another(cluster: MakeCluster) -> None:
    """As in a notebook, whose cells run on an event loop: close() waits all the same."""
    c = cluster()
    assert c.close() is None
    assert c.status.name == "closed"


def test_a_cluster_is_started_on_its_own_event_loop_alone(cluster: MakeCluster) -> None:
    """The error says what to do."""

    async def made() -> Cluster:
        return cluster(asynchronous=True)

    async def used(c: Cluster) -> None:
        async with c:
            pass

    c = asyncio.run(made())
    with pytest.raises(CorralError, match="was made on another event loop: make it on the one that uses it"):
        asyncio.run(used(c))


def test_an_event_loop_that_is_run_in_parts(cluster: MakeCluster) -> None:
    """``loop.run_until_complete(cluster.close())``."""
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        return await cluster(asynchronous=True)

    c = loop.run_until_complete(begin())
    loop.run_until_complete(c.close())
    assert c.status.name == "closed"
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def event_loops() -> set[threading.Thread]:
    """The threads of clusters' own event loops."""
    return {thread for thread in threading.enumerate() if thread.name == "IO loop"}


def test_many_threads_close_one_cluster(cluster: MakeCluster) -> None:
    """All return when it is closed, and nobody is left waiting for its event loop."""
    before = event_loops()
    c = cluster(n_workers=1)
    c.wait_for_workers(1, timeout=60)
    errors: list[BaseException] = []

    def close() -> None:
        try:
            c.close()
            assert c.status.name == "closed"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors
    c.close()
    assert event_loops() <= before


def test_who_gives_up_waiting_does_not_stop_it_from_closing(cluster: MakeCluster) -> None:
    """The time-out is the waiter's alone."""
    before = event_loops()
    c = cluster(n_workers=1)
    c.wait_for_workers(1, timeout=60)
    with pytest.raises(TimeoutError, match="it is still closing"):
        c.close(timeout=0.001)
    eventually(lambda: c.status.name == "closed")
    assert [job.state.value for job in c.jobs] == ["completed"]
    c.close()
    assert event_loops() <= before


def test_a_handler_of_a_signal_closes_a_cluster_that_is_closing(tmp_path: Path) -> None:
    """In the very thread that waits for the end."""
    done = run(tmp_path, """
        cluster = make(n_workers=1)
        cluster.wait_for_workers(1, timeout=60)
        def handle(*_):
            cluster.close()
            print("closed in the handler", cluster.status.name)
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        cluster.close()
        print(cluster.status.name, files())
    """)  # fmt: skip
    assert done.stdout == "closed in the handler closed\nclosed []\n", done.stdout + done.stderr
    assert done.stderr == ""
