"""Connections whose other side has yet to prove that it belongs: they are few, and end in time.

Who has no key of the cluster is refused by TLS, but may take for ever over it, thousands of times. So each event loop
keeps account of its half-open connections: one that takes longer than `PATIENCE` is closed, and where there are too
many, the oldest of the host that has most of them. That keeps nobody else out: a handshake takes milliseconds. Where no
descriptor is left, half-open connections give theirs back. The log says so once a minute.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from corral.host.clock import TICK
from corral.text.logs import logger_of

logger = logger_of()

#: Seconds of the event loop in which a connection must have proved itself. Dask's own give up connecting after 30.
PATIENCE = 30.0
#: How many an event loop may have at once: more than there are when hundreds of workers join.
MOST = 1024
#: Nor more than so many of the descriptors that this process may have.
SHARE = 1 / 4
#: Seconds between two lines of the log, and before the first, which then says more than "one".
QUIET = 60.0
HEARING = 1.0
#: Seconds for which no connection is accepted after one for which there was no descriptor.
PAUSE = 1.0
#: How many are accepted before the event loop does something else.
AT_ONCE = 64

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HalfOpen:
    """One of them.

    Parameters
    ----------
    close
        Ends the connection at once.
    """

    def __init__(self, host: str, close: Callable[[], Any], since: float) -> None:
        self.host = host
        self.close = close
        self.since = since


class HalfOpenConnections:
    """All of an event loop: see `of_this_loop`."""

    def __init__(self) -> None:
        self.complaints = Complaints()
        #: The oldest first.
        self._by_host: dict[str, dict[HalfOpen, None]] = {}
        self._count = 0
        #: Seconds in which the loop could work: nobody is late while it is stalled.
        self._clock = 0.0
        self._is_ticking = False

    def __len__(self) -> int:
        return self._count

    def admit(self, host: str, close: Callable[[], Any]) -> HalfOpen:
        """Keep account of a connection until it is released; for it, another may have to go."""
        connection = HalfOpen(host, close, self._clock)
        self._by_host.setdefault(host, {})[connection] = None
        self._count += 1
        if not self._is_ticking:
            self._is_ticking = True
            asyncio.get_running_loop().call_later(TICK, self._tick)
        if self._count > limit():
            self.make_room("too many at once")
        return connection

    def release(self, connection: HalfOpen) -> bool:
        """Account for it no longer; False if it was closed before."""
        of_host = self._by_host.get(connection.host, {})
        if connection not in of_host:
            return False
        del of_host[connection]
        if not of_host:
            del self._by_host[connection.host]
        self._count -= 1
        return True

    @contextmanager
    def admitted(self, host: str, close: Callable[[], Any]) -> Iterator[None]:
        """Keep account of a connection meanwhile."""
        connection = self.admit(host, close)
        try:
            yield
        except OSError as error:
            if self.release(connection):
                self.complaints.add(host, reason(error))
            raise
        finally:
            self.release(connection)

    def make_room(self, why: str, number: int = 1) -> bool:
        """Close the oldest of the host that has most; False if there is none."""
        is_any = self._count > 0
        for _ in range(min(number, self._count)):
            host = max(self._by_host, key=lambda host: len(self._by_host[host]))
            self._close(next(iter(self._by_host[host])), why)
        return is_any

    def _close(self, connection: HalfOpen, why: str) -> None:
        self.release(connection)
        self.complaints.add(connection.host, why)
        connection.close()

    def _tick(self) -> None:
        # A tick counts for what it was meant to last, however long the loop took over it.
        self._clock += TICK
        for of_host in list(self._by_host.values()):
            for connection in list(of_host):
                if self._clock - connection.since < PATIENCE:
                    break
                self._close(connection, f"not ready after {PATIENCE:.0f} s")
        self._is_ticking = self._count > 0
        if self._is_ticking:
            asyncio.get_running_loop().call_later(TICK, self._tick)


def limit() -> int:
    """How many half-open connections an event loop may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, int(soft * SHARE))


_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, HalfOpenConnections] = weakref.WeakKeyDictionary()


def of_this_loop() -> HalfOpenConnections:
    """The half-open connections of the running event loop."""
    return _loops.setdefault(asyncio.get_running_loop(), HalfOpenConnections())


class Complaints:
    """What the log says of connections that came to nothing: a line a minute, however many there were."""

    def __init__(self) -> None:
        self._told = -QUIET
        self._is_due = False
        self._hosts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, host: str, why: str) -> None:
        """A connection from `host` was closed."""
        self._hosts[host] += 1
        self._reasons[why] += 1
        if not self._is_due:
            self._is_due = True
            wait = max(HEARING, self._told + QUIET - time.monotonic())
            asyncio.get_running_loop().call_later(wait, self._tell)

    def _tell(self) -> None:
        hosts, reasons, count = _most_common(self._hosts), _most_common(self._reasons), self._hosts.total()
        self._hosts.clear()
        self._reasons.clear()
        self._is_due = False
        self._told = time.monotonic()
        logger.warning(
            "%d connection(s) closed that had not shown a key of this cluster: %s; they came from %s",
            count, reasons, hosts,
        )  # fmt: skip


def _most_common(counter: Counter[str], most: int = 4) -> str:
    words = [f"{what} ({count})" for what, count in counter.most_common(most)]
    rest = len(counter) - most
    return ", ".join(words) + (f" and {rest} more" if rest > 0 else "")


# --- accepting --------------------------------------------------------------------------------------------------


class Acceptor:
    """Accepts what comes to a listening socket, and outlives the want of descriptors.

    tornado would try again at once, for ever, with a traceback each time.

    Parameters
    ----------
    take
        Is given each new connection, and the address of the other side.
    """

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket, Any], None]) -> None:
        self._listening = listening
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._half_open = of_this_loop()
        self._resuming: asyncio.TimerHandle | None = None
        _spare.keep()
        self._resume()

    def stop(self) -> None:
        """Accept no more; the socket is left open."""
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listening)

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if self._listening.fileno() < 0:
                return
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._survive(error)
                return
            try:
                self._take(connection, address)
            except OSError as error:
                # It was gone before it was looked at.
                self._half_open.complaints.add(address[0], reason(error))
                connection.close()

    def _survive(self, error: OSError) -> None:
        lacks = f"accept failed: {error.strerror}"
        if error.errno in _EXHAUSTED:
            if self._half_open.make_room(lacks, AT_ONCE):
                return
            for host in _spare.turn_away(self._listening):
                self._half_open.complaints.add(host, lacks)
        else:
            self._half_open.complaints.add("this host", lacks)
        self._loop.remove_reader(self._listening)
        self._resuming = self._loop.call_later(PAUSE, self._resume)


class _Spare:
    """A descriptor for the day on which there is no other: one can still accept, and close.

    So whoever knocks learns of it, and tries again later, instead of waiting.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def keep(self) -> None:
        with self._lock:
            self._open()

    def turn_away(self, listening: socket.socket) -> list[str]:
        """Close what waits to be accepted; returns the hosts."""
        hosts: list[str] = []
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            try:
                while len(hosts) < AT_ONCE:
                    connection, address = listening.accept()
                    connection.close()
                    hosts.append(address[0])
            except OSError:
                pass
            self._open()
        return hosts

    def _open(self) -> None:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(os.devnull, os.O_RDONLY)
            except OSError:
                # The next that listens, or turns away, tries again.
                self._descriptor = None


_spare = _Spare()


def reason(error: object) -> str:
    """Why a handshake failed, in few words, the same for all that failed alike."""
    error = getattr(error, "real_error", None) or error
    # OpenSSL's words name a line of its source: "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:992)".
    words = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(words or "left in the middle of it").lower().replace("_", " ")
