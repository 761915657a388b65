"""A queue of its own for each test, ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from corral.local import processes, record, wakeup
from corral.local.outlook import describe
from corral.local.queue import Queue

T = TypeVar("T")

#: Seconds after which nothing more is expected to happen, on a busy machine.
LONG = 30.0

ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAILED"}


class LocalQueue:
    """A queue, asked through its commands as a person would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "queue"
        #: Where jobs write; a job's script finds it as its working directory.
        self.work = folder / "work"
        self.work.mkdir(parents=True)

    def run(
        self, command: str, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "corral.local", command, f"--directory={self.directory}", *arguments],
            input=stdin,
            env={**os.environ, **(env or {})},
            cwd=self.work,
            capture_output=True,
            text=True,
            check=check,
            timeout=60,
        )

    def submit(
        self,
        *lines: str,
        directives: tuple[str, ...] = (),
        options: tuple[str, ...] = ("--cores=4", "--memory=1000000000", "--gpus=0"),
        count: int = 1,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> list[str]:
        """Submit a script of these lines; returns the ids that the answer means."""
        done = self.run(
            "submit", f"--count={count}", *options, stdin=script(*lines, directives=directives), env=env, check=check
        )
        if '{"array": ' not in done.stdout:
            assert not check
            # The command was killed after it had written the job down.
            return list(self.rows())[-count:]
        array = done.stdout.partition('{"array": ')[2].partition(",")[0]
        return [f"{array}_{element}" for element in range(count)]

    def queue(self) -> Queue:
        return Queue(self.directory)

    def rows(self, *ids: str) -> dict[str, dict[str, Any]]:
        """What the queue knows, read from the database: nobody is woken by it."""
        queue = self.queue()
        try:
            return {row["job"]: row for row in describe(queue, queue.expand(ids) if ids else queue.keys())}
        finally:
            queue.close()

    def states(self, *ids: str) -> list[str]:
        return [row["state"] for row in self.rows(*ids).values()]

    def wait_for(self, *ids: str, until: Callable[[dict[str, Any]], bool] = lambda row: row["state"] in ENDED) -> None:
        """Until this is true of each of these jobs (of all jobs): by default, that they have ended."""
        eventually(lambda: all(until(row) for row in self.rows(*ids).values()), lambda: str(self.rows(*ids)))

    def wait_for_file(self, name: str, lines: int = 1) -> str:
        """Until jobs have written so many lines to this file; returns what is in it."""
        path = self.work / name
        eventually(lambda: path.exists() and path.read_text().count("\n") >= lines, lambda: f"{name}: {self.rows()}")
        return path.read_text()

    def wait_for_nobody(self) -> None:
        """Until no process of this queue is left."""
        eventually(lambda: not self.processes(), lambda: f"still there: {self.processes()}")

    def processes(self) -> list[int]:
        """The dispatcher and the supervisors of this queue, and commands that use it."""
        mine = os.fsencode(self.directory)
        found = [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]
        return [pid for pid in found if any(mine in word for word in processes.arguments(pid))]

    def dispatchers(self) -> list[int]:
        """The dispatcher's process id, or nothing."""
        path = self.directory / "lock"
        text = path.read_text() if path.exists() else ""
        return [pid for pid in map(int, text.split()) if pid in self.processes()]

    def dispatcher(self) -> int:
        """The dispatcher's process id, as soon as there is one."""
        return eventually(self.dispatchers, lambda: "no dispatcher")[0]

    def having_lock_open(self, count: int) -> list[int]:
        """The living processes that hold the dispatcher's lock or want it, as soon as there are so many."""

        def question() -> list[int] | None:
            found = self._having_lock_open()
            return found if len(found) == count else None

        return eventually(question, lambda: f"not {count} processes: {self.processes()}")

    def _having_lock_open(self) -> list[int]:
        return [pid for pid in self.processes() if str(self.directory / "lock") in _open_files(pid)]

    def stopped_with_lock(self) -> int:
        """The stopped process that has the dispatcher's lock open, as soon as no other has."""

        def question() -> int | None:
            found = self._having_lock_open()
            return found[0] if list(map(_state, found)) == ["T"] else None

        return eventually(question, lambda: f"not one stopped process: {self._having_lock_open()}")

    def supervisor(self, job: str) -> int:
        """The process id of a running job's supervisor, as soon as it is on record."""
        path = record.folder(self.directory) / job
        return eventually(lambda: record.read(path), lambda: f"no supervisor of {job}").supervisor

    def kill(self, pid: int) -> None:
        """Kill a process, and wait until it is dead."""
        os.kill(pid, signal.SIGKILL)
        self.wait_until_dead(pid)

    def wait_until_dead(self, *pids: int) -> None:
        eventually(lambda: not any(map(self.is_alive, pids)), lambda: str([*filter(self.is_alive, pids)]))

    def gate(self, name: str) -> str:
        """The shell line that waits until `open` opens the gate of that name."""
        os.mkfifo(self.work / name)
        return f"cat {name}"

    def open(self, name: str) -> None:
        """Let the job pass that waits at this gate, or comes to it."""
        (self.work / name).write_text("")

    def wait_until_stopped(self, pid: int) -> None:
        eventually(lambda: _state(pid) == "T", lambda: f"{pid} is {_state(pid)!r}")

    @staticmethod
    def is_alive(pid: int) -> bool:
        return processes.process(pid) is not None

    def end(self) -> None:
        """End every process of this queue, whatever it does."""
        if self.directory.exists():
            queue = self.queue()
            queue.cancel(queue.keys())
            queue.close()
            wakeup.poke(self.directory)
        left: list[int] = []
        deadline = time.monotonic() + LONG
        while left := self.processes():
            if not any(row["state"] == "RUNNING" for row in self.rows().values()) or time.monotonic() > deadline:
                for pid in left:
                    processes.kill(pid, signal.SIGKILL)
            time.sleep(0.005)


def script(*lines: str, directives: tuple[str, ...] = ()) -> str:
    return "\n".join(["#!/bin/bash", *(f"#CORRAL {directive}" for directive in directives), *lines, ""])


def eventually(question: Callable[[], T | None], explain: Callable[[], str]) -> T:
    """Ask until the answer is true, and return it. It is other processes' doing, and nobody tells of it."""
    deadline = time.monotonic() + LONG
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {LONG:g} s: {explain()}")
        time.sleep(0.005)
    return answer


def _state(pid: int) -> str:
    """One letter of ps: "T" has been stopped; "" has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _open_files(pid: int) -> list[str]:
    try:
        return [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    except OSError:  # it has ended
        return []


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalQueue]:
    """A queue with four cores, 1 GB and no GPU."""
    queue = LocalQueue(tmp_path)
    yield queue
    queue.end()
