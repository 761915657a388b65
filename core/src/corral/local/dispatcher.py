"""The dispatcher of one queue: starts the jobs whose turn it is and writes down how they ended."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from corral.local import processes, record, supervisor, wakeup
from corral.local.crashes import crash_point
from corral.local.database import database_file
from corral.local.queue import Key, Outcome, Queue, Task

#: Seconds for which a dispatcher without work waits for more.
LINGER = 1.0

#: Seconds after which it looks without being woken: for a supervisor that was killed and is not its child.
_BACKSTOP = 2.0

#: Seconds until it looks again for a supervisor to pass a wish on to.
_IMPATIENCE = 0.01


def dispatch(directory: Path) -> None:
    """Serve a queue until it has no work, unless another process does."""
    lock = wakeup.lock(directory)
    # Held for life. While it is not ours: either its holder listens, or it is about to leave, or it is dead and a
    # supervisor that it has just forked is not on record yet.
    while not wakeup.try_lock(lock):
        if wakeup.poke(directory):
            return
        time.sleep(0.005)
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)  # for people
    Dispatcher(directory, lock).run()


class Dispatcher:
    """The holder of a queue's lock."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self.lock = lock
        self.pipe = wakeup.listen(directory)
        # Each dead child, too, is a byte in the pipe.
        signal.set_wakeup_fd(self.pipe, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.queue = Queue(directory)
        self.file = database_file(directory)
        self.identity = self.file.stat()
        self.jobs: dict[Key, Task] = {}
        #: Supervisors that are children of this process and not yet reaped.
        self.children: dict[Key, int] = {}
        self.asked: set[Key] = set()

    def run(self) -> None:
        self.recover()
        last_work = time.monotonic()
        while self.is_wanted():
            self.reap()
            self.settle()
            all_asked = self.pass_on_wishes()
            for task in self.queue.start_jobs():
                crash_point("marked")
                self.start(task)
            now = time.monotonic()
            if self.queue.has_work():
                last_work = now
            elif now - last_work >= LINGER and self.leave():
                return
            self.sleep(_BACKSTOP if all_asked else _IMPATIENCE)

    def recover(self) -> None:
        """Take over what an earlier dispatcher has left, killed or not."""
        self.queue.purge()
        left = {task.key: task for task in self.queue.running()}
        needed = {path for key in left for path in record.paths(self.directory, key)}
        for path in set(record.folder(self.directory).iterdir()) - needed:
            path.unlink()  # of a job that was settled just before
        for key, task in left.items():
            self.jobs[key] = task
            if not record.record_path(self.directory, key).exists():
                self.start(task)

    def start(self, task: Task) -> None:
        """Fork the supervisor of a job that is marked as RUNNING."""
        self.jobs[task.key] = task
        child = os.fork()
        if child == 0:
            try:
                supervisor.supervise(task, self.directory, self.lock)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(1)
        self.children[task.key] = child
        crash_point("forked")

    def reap(self) -> None:
        """Forget children that have died; how their jobs fared is on record."""
        dead = set()
        with suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                dead.add(pid)
        self.children = {key: pid for key, pid in self.children.items() if pid not in dead}

    def settle(self) -> None:
        """Write down the jobs that have ended."""
        outcomes = {key: outcome for key in self.jobs if (outcome := self.outcome(key))}
        if not outcomes:
            return
        crash_point("before settling")
        self.queue.settle(outcomes)
        crash_point("settled")
        for key in outcomes:
            for path in record.paths(self.directory, key):
                path.unlink(missing_ok=True)
            del self.jobs[key]
            self.children.pop(key, None)
            self.asked.discard(key)

    def outcome(self, key: Key) -> Outcome | None:
        """How a job ended; None while it runs."""
        found = record.read(record.record_path(self.directory, key))
        if found is None:
            if key in self.children:
                return None  # not yet on record
            return Outcome("FAILED", "its supervisor could not start it: see dispatcher.log")
        if found.outcome is not None:
            return found.outcome
        if found.is_alive:
            return None
        if not found.is_of_this_boot:
            return Outcome("NODE_FAILED", "the machine was restarted")
        self.end_processes(key, found)
        return Outcome("FAILED", "its supervisor died")

    def end_processes(self, key: Key, found: record.Record) -> None:
        """End the processes of a job whose supervisor is dead; the kernel has killed the script itself already."""
        members = processes.session_members(found.leader, found.since) if found.leader else []
        relatives = processes.with_variables(supervisor.job_variables(self.directory, self.jobs[key]))
        for pid in {*members, *relatives} - {os.getpid()}:
            processes.kill(pid, signal.SIGKILL)

    def pass_on_wishes(self) -> bool:
        """Tell supervisors whose jobs somebody wants to end; False if one could not be told yet."""
        untold = set(self.queue.wishes()) - self.asked
        for key in untold:
            if found := record.read(record.record_path(self.directory, key)):
                if found.is_alive:
                    processes.kill(found.supervisor, supervisor.CANCEL)
                self.asked.add(key)
        return untold <= self.asked

    def is_wanted(self) -> bool:
        """False when the queue has been removed: then its jobs are ended as well."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self.identity, self.file.stat()):
                return True
        for pid in self.children.values():
            processes.kill(pid, supervisor.CANCEL)
        return False

    def leave(self) -> bool:
        """Stop listening, unless there is work after all.

        Both inside one transaction: a job submitted before it is seen here, and a later submission finds nobody
        who listens.
        """
        crash_point("leaving")
        with self.queue.transaction():
            if self.queue.has_work():
                return False
            signal.set_wakeup_fd(-1)
            os.close(self.pipe)
        self.queue.close()
        return True

    def sleep(self, longest: float) -> None:
        """Until somebody pokes, a child dies, or the time is over."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        if poll.poll(1000 * (longest if self.jobs else min(longest, LINGER))):
            os.read(self.pipe, 65536)
