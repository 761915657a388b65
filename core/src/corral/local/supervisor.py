"""One running job's supervisor: the parent of its script. It says how the job ended, and sees to it that it ends."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from corral.host.machine import gpu_variables
from corral.local import processes, record, wakeup
from corral.local.crashes import VARIABLE, crash_point
from corral.local.queue import Outcome, Task

#: Sent by the dispatcher when the job was cancelled (or is to be requeued).
CANCEL = signal.SIGUSR1

#: Seconds after which a process is given up that not even SIGKILL ends: it waits for a dead disk, say.
_UNKILLABLE = 5.0

_HEARD = {signal.SIGCHLD, signal.SIGTERM, CANCEL}


def supervise(task: Task, directory: Path, lock: int) -> NoReturn:
    """Run a job to its end. For a process just forked by the dispatcher; never returns.

    Parameters
    ----------
    lock
        The dispatcher's lock, shared by the fork: closed as soon as this supervisor is on record.
    """
    signal.set_wakeup_fd(-1)
    _close_all_but(lock)
    os.setsid()
    for ignored in (signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, _HEARD)
    processes.set_name(f"job {task.key}")
    processes.adopt_orphans()
    crash_point("before record")
    descriptor = record.create(record.record_path(directory, task.key))
    os.close(lock)
    crash_point("recorded")
    outcome = _Attempt(task, directory, descriptor).run()
    crash_point("job ended")
    record.add(descriptor, outcome=outcome._replace(ended=time.time()))
    crash_point("end recorded")
    os.environ.pop(VARIABLE, None)
    wakeup.wake(directory)
    os._exit(0)


class _Attempt:
    def __init__(self, task: Task, directory: Path, descriptor: int) -> None:
        self.task = task
        self.directory = directory
        self.descriptor = descriptor
        self.leader = 0
        #: The leader's wait status, once it has ended.
        self.status: int | None = None

    def run(self) -> Outcome:
        started = time.monotonic()
        if problem := self.start():
            return Outcome("FAILED", problem)
        verdict = self.wait(None if self.task.walltime is None else started + self.task.walltime)
        if verdict is not None:
            self.ask_all_to_end()
            self.wait_for_nobody(time.monotonic() + self.task.grace)
        self.kill_the_rest()
        return self.outcome(verdict)

    # --- its start ----------------------------------------------------------------------------------------------

    def start(self) -> str:
        """Start the script; returns why that is impossible, or nothing."""
        task = self.task
        log = "/dev/null" if task.output is None else task.output.replace("{id}", str(task.key))
        try:
            output = os.open(os.path.join(task.folder, log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            return f"cannot write the log {log}: {error.strerror}"
        script = record.script_path(self.directory, task.key)
        script.write_text(task.script)
        parent = os.getpid()
        self.leader = os.fork()
        if self.leader == 0:
            _become_script(task, self.directory, script, output, parent)
        os.close(output)
        leader = processes.process(self.leader)
        record.add(self.descriptor, leader=self.leader, since=leader and leader.since)
        crash_point("started")
        return ""

    # --- its end ------------------------------------------------------------------------------------------------

    def wait(self, until: float | None) -> Outcome | None:
        """Wait for the end of the script; if it must be ended, return what that will be called."""
        while True:
            self.reap()
            if self.status is not None:
                return None
            if until is None:
                number = signal.sigwait(_HEARD)
            else:
                heard = signal.sigtimedwait(_HEARD, max(0.0, until - time.monotonic()))
                if heard is None:
                    return Outcome("TIMEOUT", f"its walltime of {self.task.walltime} s was over")
                number = signal.Signals(heard.si_signo)
            if number == CANCEL:
                return Outcome("CANCELLED")
            if number == signal.SIGTERM:  # a machine that is shut down ends processes so
                return Outcome("NODE_FAILED", "its supervisor was asked to end (SIGTERM)")

    def ask_all_to_end(self) -> None:
        """Send SIGTERM to each process of the job once: twice means something else to many programs."""
        try:
            os.killpg(self.leader, signal.SIGTERM)
        except OSError:  # so new that it has no group yet
            processes.kill(self.leader, signal.SIGTERM)
        for process in self.family():
            if self.leader not in (process.group, process.pid):
                processes.kill(process.pid, signal.SIGTERM)

    def wait_for_nobody(self, until: float) -> None:
        """Wait until no process of the job is left, or the time is over."""
        while self.family() and (left := until - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)

    def kill_the_rest(self) -> None:
        """End what the script left behind, wherever it went. A process that cannot be killed is not waited for long."""
        until = time.monotonic() + _UNKILLABLE
        while (family := self.family()) and time.monotonic() < until:
            for process in family:
                processes.kill(process.pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)

    def outcome(self, verdict: Outcome | None) -> Outcome:
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        exit_code = code if code is not None and code >= 0 else None
        number = -code if code is not None and code < 0 else None
        if verdict is None:
            verdict = Outcome("COMPLETED" if code == 0 else "FAILED")
        return verdict._replace(exit_code=exit_code, signal=number)

    def reap(self) -> bool:
        """Bury dead children; True if some still live."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.leader:
                    self.status = status
        return False

    def family(self) -> list[processes.Process]:
        """The job's living processes. This process adopts orphans, so all of them descend from it."""
        return processes.descendants(os.getpid(), self.is_spared) if self.reap() else []

    def is_spared(self, pid: int) -> bool:
        """True for a dispatcher of this queue: a command inside the job may have had to start one."""
        return processes.arguments(pid)[-4:-1] == wakeup.dispatcher_arguments(self.directory)


def _become_script(task: Task, directory: Path, script: Path, output: int, parent: int) -> NoReturn:
    """In the forked child: become the script."""
    try:
        os.setsid()
        processes.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(task.folder)
        interpreter = task.script.partition("\n")[0].removeprefix("#!").strip().split(None, 1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Its own file, not one descriptor: shells show it as $0. Read by the interpreter, so that it may be on a
        # file system from which nothing can be executed.
        os.execve(interpreter[0], [*interpreter, str(script)], _environment(task, directory))  # noqa: S606
    except OSError as error:
        # As a shell would put it.
        os.write(2, f"corral.local: cannot run: {error}\n".encode())
    finally:
        os._exit(127)


def _environment(task: Task, directory: Path) -> dict[str, str]:
    """What the script finds in its environment: nothing of the submitter's but what a login needs."""
    own = {
        "CORRAL_JOB_ID": str(task.key),
        "CORRAL_LOCAL_JOB_ID": str(task.key),
        "CORRAL_LOCAL_JOB_NAME": task.name,
        "CORRAL_LOCAL_DIRECTORY": str(directory),
        "CORRAL_LOCAL_HOST": os.uname().nodename,
        "CORRAL_LOCAL_CORES": str(task.cores),
        "CORRAL_LOCAL_ATTEMPT": str(task.attempt),
    }
    if task.memory:
        own["CORRAL_LOCAL_MEMORY"] = str(task.memory)
    if task.walltime is not None:
        own["CORRAL_LOCAL_END_TIME"] = str(int(time.time()) + task.walltime)
    if task.has_devices:
        own |= gpu_variables(task.devices)
    return task.environment | own


def job_variables(directory: Path, task: Task) -> frozenset[bytes]:
    """What all processes of a job have in their environment, and no others."""
    own = _environment(task, directory)
    return frozenset(f"{name}={own[name]}".encode() for name in ("CORRAL_LOCAL_DIRECTORY", "CORRAL_LOCAL_JOB_ID"))


def _close_all_but(kept: int) -> None:
    for name in os.listdir("/dev/fd"):
        if int(name) > 2 and int(name) != kept:
            with suppress(OSError):
                os.close(int(name))
