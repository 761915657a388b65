"""Clusters that come and go, one after the other, in one process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from corral import Cluster
from corral.host.home import MARK
from corral.local.outlook import describe
from corral.local.queue import KEPT, Queue


def open_and_close(queue: Path, *, jobs: int) -> None:
    """A cluster on this queue; with jobs, it is closed when their workers are there."""
    options = {"directory": str(queue), "cores": 4, "memory": "4GB"}
    with Cluster(backend="local", memory="200MB", interface="lo", backend_options=options) as cluster:
        if jobs:
            cluster.scale(jobs=jobs)
            cluster.wait_for_workers(jobs, timeout=90)


def open_files() -> list[str]:
    """What this process has open: names of files, and the kinds of what has none."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        # The listing's own one is closed by now.
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}").partition(":[")[0])
    return sorted(found)


def processes(folder: Path) -> list[str]:
    """Our children, and whoever was started with something in this folder."""
    found = psutil.Process().children(recursive=True)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process)
    return [str(process) for process in found]


def eventually(condition: Callable[[], bool], complaint: Callable[[], object], timeout: float = 30.0) -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def thread_names() -> Counter[str]:
    return Counter(thread.name for thread in threading.enumerate())


@pytest.mark.parametrize(
    "clusters",
    [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])],
)
def test_clusters_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clusters: int) -> None:
    """No process, thread, open file, credential, log, or job that has not ended; one cluster in ten has two jobs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    queue = tmp_path / "queue"
    # What is opened once and for all.
    open_and_close(queue, jobs=1)
    files, threads = open_files(), thread_names()
    for number in range(clusters):
        open_and_close(queue, jobs=0 if number % 10 else 2)
    assert open_files() == files
    # Event loops of earlier tests may end meanwhile, and others begin; who watches them ends a moment later.
    eventually(lambda: not thread_names() - threads, lambda: thread_names() - threads)
    # The queue's dispatcher lingers for a moment.
    eventually(lambda: not processes(tmp_path), lambda: processes(tmp_path))
    there = [path for path in (tmp_path / "state").rglob("*") if path.name not in ("registry", "journals", MARK)]
    left = [path for path in there if path.parent.name != "journals"]
    assert left == [tmp_path / "state" / "corral"]
    rows = Queue(queue)
    states = [row["state"] for row in describe(rows, rows.keys())]
    assert states == ["COMPLETED"] * (1 + 2 * (clusters // 10))
    rows.connection.execute("UPDATE jobs SET ended = ended - ?", (KEPT + 1,))
    rows.purge()
    assert not list(rows.keys()), "records of ended jobs are kept for an hour, and no longer"
    rows.close()


#: Prints how the process has grown by clusters: MB each, open files, threads.
GROWTH = """
import ctypes, gc, sys, threading, psutil
from corral import Cluster

def open_and_close(jobs):
    options = {"directory": sys.argv[1], "cores": 4, "memory": "4GB"}
    with Cluster(backend="local", memory="200MB", interface="lo", backend_options=options) as cluster:
        if jobs:
            cluster.scale(jobs=jobs)
            cluster.wait_for_workers(jobs, timeout=90)

def measured():
    gc.collect()
    # What the allocator keeps for the next one is nobody's.
    ctypes.CDLL(None).malloc_trim(0)
    return process.memory_info().rss / 1e6, process.num_fds(), threading.active_count()

process = psutil.Process()
for number in range(25):  # what is loaded once and for all
    open_and_close(jobs=int(number % 5 == 0))
before = measured()
for number in range(50):
    open_and_close(jobs=int(number % 5 == 0))
after = measured()
print((after[0] - before[0]) / 50, after[1] - before[1], after[2] - before[2])
"""


@pytest.mark.timeout(300)
def test_a_process_does_not_grow_by_the_clusters_that_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fifty, ten had a worker: open files and threads stay as many, and each has left less than 0.1 MB behind."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    argv = [sys.executable, "-c", GROWTH, str(tmp_path / "queue")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    megabytes, files, threads = map(float, done.stdout.split())
    assert (files, threads) == (0, 0)
    assert megabytes < 0.1
    print(f"{megabytes:.3f} MB each")
