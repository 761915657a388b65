"""A process that forks workers: a copy of the launcher, taken when distributed was imported and nothing had begun.

A forked worker starts in a tenth of the time that a new interpreter takes, and the launcher itself, which runs
threads and an event loop, must not fork. The two talk through a socket pair: the launcher asks for processes and for
signals to them, the zygote, their parent, reports how they ended. When the launcher is gone, for whatever reason, so
is everything that the zygote forked.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

#: Batch systems send these to every process of a job; only the launcher decides what they mean.
WARNINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

#: Is given an exit code.
OnExit = Callable[[int], None]

_PR_SET_PDEATHSIG = 1
_MESSAGE = 4096


def threads() -> int:
    """The threads of this process. Forking is safe with one: the others are not copied, but the locks that they hold."""
    return len(os.listdir("/proc/self/task"))


def ignore_warnings() -> None:
    """Let the signals of a batch system pass by, in this process but not in the programs that it starts.

    A handler, not SIG_IGN: programs inherit what is ignored, and a task's subprocess must hear its SIGTERM.
    """
    _pass_warnings()
    os.register_at_fork(after_in_child=_heed_warnings)


def _pass_warnings() -> None:
    for number in WARNINGS:
        signal.signal(number, _let_pass)


def _let_pass(number: int, frame: object) -> None:
    pass


def _heed_warnings() -> None:
    for number in WARNINGS:
        if signal.getsignal(number) is _let_pass:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


class Zygote:
    """The launcher's end."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._connection = connection
        self._requests = 0
        self._forking: dict[int, tuple[asyncio.Future[int], OnExit]] = {}
        self._running: dict[int, OnExit] = {}

    @classmethod
    def fork(cls, work: Callable[[socket.socket], None], scratch: str) -> Zygote:
        """Start the zygote. Call it while the process has one thread.

        Workers leave this function by SystemExit, as the whole process is to end as Python ends one: nothing between
        here and the top may catch that or clean up.

        Parameters
        ----------
        work
            What a forked process does, given its end of a channel to the launcher.
        scratch
            A directory to remove when the launcher is gone.
        """
        gc.collect()
        # What has been imported stays: do not let collections touch, and so copy, its pages.
        gc.freeze()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        if pid := os.fork():
            theirs.close()
            return cls(ours, pid)
        ours.close()
        _serve(theirs, work, scratch)

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
        socket.send_fds(self._connection, [request], [channel.fileno()])
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
            self._mourn()
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

    def _mourn(self) -> None:
        asyncio.get_running_loop().remove_reader(self._connection)
        for forked, _ in self._forking.values():
            if not forked.done():
                forked.set_exception(OSError("the process that forks workers has died"))
        self._forking.clear()
        while self._running:
            # They died with their parent.
            self._running.popitem()[1](-signal.SIGKILL)


# --- the other end ----------------------------------------------------------------------------------------------


def _serve(connection: socket.socket, work: Callable[[socket.socket], None], scratch: str) -> NoReturn:
    _pass_warnings()
    woken, waker = socket.socketpair()
    woken.setblocking(False)
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, _let_pass)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    zygote = os.getpid()
    children: set[int] = set()
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if woken in ready:
            woken.recv(_MESSAGE)
            _report_ended(connection, children)
        if connection not in ready:
            continue
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE, 1)
        except OSError:
            break
        if not message:
            break
        request = json.loads(message)
        if "signal" in request:
            if request["pid"] in children:
                os.kill(request["pid"], request["signal"])
            continue
        channel = socket.socket(fileno=descriptors[0])
        try:
            pid = os.fork()
        except OSError as error:
            _send(connection, {"fork": request["fork"], "problem": f"cannot fork: {error.strerror}"})
        else:
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for end in (selector, woken, waker, connection):
                    end.close()
                _become_worker(zygote, channel, work)
            children.add(pid)
            _send(connection, {"fork": request["fork"], "pid": pid})
        channel.close()
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _become_worker(zygote: int, channel: socket.socket, work: Callable[[socket.socket], None]) -> NoReturn:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        # It died before the kernel was told.
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ignore_warnings()
    gc.unfreeze()
    work(channel)
    raise SystemExit(0)


def _report_ended(connection: socket.socket, children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        _send(connection, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    # If the launcher is gone, the loop finds out by itself.
    with suppress(OSError):
        connection.send(json.dumps(message).encode())
