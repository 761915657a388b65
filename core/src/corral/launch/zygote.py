"""A process that forks workers: a copy of the launcher, taken when distributed was imported and nothing had begun.

A forked worker starts in a tenth of the time that a new interpreter takes, and the launcher itself, which runs
threads and an event loop, must not fork. The two talk through a socket pair: the launcher asks for processes and for
signals to them, the zygote, their parent, reports how they ended. When the launcher is gone, for whatever reason, so
is everything that the zygote forked.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from corral.launch.ending import flush

#: Batch systems send these to every process of a job; only the launcher decides what they mean.
WARNINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

#: Is given an exit code.
OnExit = Callable[[int], None]
#: What the zygote does before it serves; is given what sends a message to the launcher.
Prepare = Callable[[Callable[[Mapping[str, Any]], None]], None]

#: Seconds for threads that have ended to be gone.
_ENDING_THREADS = 0.5
_PR_SET_PDEATHSIG = 1
_MESSAGE = 4096


def why_not_fork() -> str | None:
    """Why this process cannot have a zygote; None if it can."""
    if sys.platform != "linux":
        return "there is no zygote on this system"
    # Forking does not copy threads, but it does copy the locks that they hold.
    threads = threads_left()
    return f"{threads} threads are running" if threads > 1 else None


def threads_left() -> int:
    """How many threads this process has, when those that are about to end have ended."""
    # One that was joined is listed for a moment longer, on a node that is busy for a long one.
    deadline = time.monotonic() + _ENDING_THREADS
    while (threads := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < deadline:
        time.sleep(0.005)
    return threads


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, which has forked it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before the kernel was told.
        os._exit(1)


def outlive_parent() -> None:
    """Undo `die_with_parent`."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)


def ignore_warnings() -> None:
    """Let the signals of a batch system pass by, in this process but not in those that it starts.

    By a handler, not by SIG_IGN, which programs inherit: a task's subprocess must hear its SIGTERM. So must a fork,
    even if it comes before the fork has put its own handlers in place.
    """
    _pass_warnings()
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, WARNINGS),
        after_in_child=_heed_warnings,
    )


def _pass_warnings() -> None:
    for number in WARNINGS:
        signal.signal(number, _let_pass)


def _let_pass(number: int, frame: object) -> None:
    pass


def _heed_warnings() -> None:
    for number in WARNINGS:
        if signal.getsignal(number) is _let_pass:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WARNINGS)


class Zygote:
    """The launcher's end."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._connection = connection
        self._requests = 0
        self._forking: dict[int, tuple[asyncio.Future[int], OnExit]] = {}
        self._running: dict[int, OnExit] = {}

    @classmethod
    def fork(cls, work: Callable[[socket.socket], None], scratch: str, prepare: Prepare = lambda _: None) -> Zygote:
        """Start the zygote. Call it while the process has one thread.

        Workers leave this function by SystemExit, as the whole process is to end as Python ends one: nothing between
        here and the top may catch that or clean up.

        Parameters
        ----------
        work
            What a forked process does, given its end of a channel to the launcher.
        scratch
            A directory to remove when the launcher is gone.
        prepare
            What the zygote does first; `receive` hears what it tells.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        flush()
        if (pid := os.fork()) == 0:
            ours.close()
            _Server(theirs, work, scratch, prepare).serve()
        theirs.close()
        return cls(ours, pid)

    def receive(self, patience: float) -> dict[str, Any] | None:
        """Wait for a message of a zygote that prepares itself; None if it is gone.

        Raises
        ------
        TimeoutError
            It has said nothing for `patience` seconds.
        """
        if not select.select([self._connection], [], [], patience)[0]:
            raise TimeoutError
        try:
            message = self._connection.recv(_MESSAGE)
        except OSError:
            message = b""
        return json.loads(message) if message else None

    def kill(self) -> int:
        """End a zygote that has not forked anything yet; returns its exit code, -N after signal N."""
        self._connection.close()
        # It may have died by itself: then that is what is returned.
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def listen(self) -> None:
        """Begin to hear the zygote, on the running event loop."""
        asyncio.get_running_loop().add_reader(self._connection, self._hear)

    async def spawn(self, channel: socket.socket, on_exit: OnExit) -> int:
        """Fork a process that owns `channel`; returns its pid.

        Parameters
        ----------
        on_exit
            Called with its exit code when it has ended; -N after signal N.
        """
        self._requests += 1
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._forking[self._requests] = forked, on_exit
        request = json.dumps({"fork": self._requests}).encode()
        try:
            socket.send_fds(self._connection, [request], [channel.fileno()])
        except OSError:
            self._on_zygote_death()
        return await forked

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to one of the processes, if it has not ended: the zygote knows, so no other can be hit."""
        with suppress(OSError):
            self._connection.send(json.dumps({"signal": number, "pid": pid}).encode())

    async def close(self) -> None:
        """End the zygote, with all that it forked and the scratch directory."""
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()
        await asyncio.to_thread(os.waitpid, self.pid, 0)

    def _hear(self) -> None:
        try:
            message = self._connection.recv(_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._on_zygote_death()
            return
        news = json.loads(message)
        if "ended" in news:
            self._running.pop(news["ended"])(news["code"])
            return
        forked, on_exit = self._forking.pop(news["fork"])
        if "pid" in news:
            self._running[news["pid"]] = on_exit
        # Done if nobody waits any more.
        if forked.done():
            return
        if "pid" in news:
            forked.set_result(news["pid"])
        else:
            forked.set_exception(OSError(news["problem"]))

    def _on_zygote_death(self) -> None:
        """The zygote has died, and so have its children."""
        asyncio.get_running_loop().remove_reader(self._connection)
        for forked, _ in self._forking.values():
            if not forked.done():
                forked.set_exception(OSError("the process that forks workers has died"))
        self._forking.clear()
        while self._running:
            self._running.popitem()[1](-signal.SIGKILL)


# --- the zygote itself ------------------------------------------------------------------------------------------


class _Server:
    """The other end: one thread that forks, and reaps, until the launcher is gone."""

    def __init__(
        self, connection: socket.socket, work: Callable[[socket.socket], None], scratch: str, prepare: Prepare
    ) -> None:
        self._connection = connection
        self._work = work
        self._prepare = prepare
        self._scratch = scratch
        self._pid = os.getpid()
        self._children: set[int] = set()
        # Every signal puts a byte into the second, so that a select sees children die.
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def serve(self) -> NoReturn:
        _pass_warnings()
        self._prepare(self._send)
        # Again: modules that it imported may have handlers of their own.
        _pass_warnings()
        signal.signal(signal.SIGCHLD, _let_pass)
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._connection, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        has_launcher = True
        while has_launcher:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if self._woken in ready:
                self._woken.recv(_MESSAGE)
                self._reap()
            if self._connection in ready:
                has_launcher = self._obey()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        shutil.rmtree(self._scratch, ignore_errors=True)
        os._exit(0)

    def _obey(self) -> bool:
        """Do what the launcher asks; False if it is gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._connection, _MESSAGE, 1)
        except OSError:
            return False
        if not message:
            return False
        request = json.loads(message)
        if "fork" in request:
            with socket.socket(fileno=descriptors[0]) as channel:
                self._fork(request["fork"], channel)
        elif request["pid"] in self._children:
            os.kill(request["pid"], request["signal"])
        return True

    def _fork(self, request: int, channel: socket.socket) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._send({"fork": request, "problem": f"cannot fork: {error.strerror}"})
            return
        if pid == 0:
            self._become_worker()
            self._work(channel)
            raise SystemExit(0)
        self._children.add(pid)
        self._send({"fork": request, "pid": pid})

    def _become_worker(self) -> None:
        die_with_parent(self._pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._selector, self._woken, self._waker, self._connection):
            end.close()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._send({"ended": pid, "code": os.waitstatus_to_exitcode(status)})

    def _send(self, message: Mapping[str, Any]) -> None:
        # If the launcher is gone, the loop finds out by itself.
        with suppress(OSError):
            self._connection.send(json.dumps(message).encode())
