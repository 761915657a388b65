"""One connection to another host, which carries everything that this process has to do there.

It is made when it is first needed, and again when it was lost: then without asking anybody anything. What cannot be
reached is left alone for a while.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from attrs import evolve, frozen

from corral.errors import HostUnreachable, LoginRefused
from corral.host.limits import threads_allowed
from corral.ssh import wire
from corral.ssh.address import Address
from corral.ssh.client import Client, free_port
from corral.text.logs import logger_of

T = TypeVar("T")

logger = logger_of("corral.ssh")

#: What failed is not tried again for so long (s): sites lock those out who knock too often.
_PAUSES = (5.0, 10.0, 20.0, 40.0, 60.0)
#: sshd allows ten sessions in one connection by default; one is the watch.
_SESSIONS = 5
#: A glance at whether there is room for another session (s).
_GLANCE = 0.05
#: For ending what does not answer (s).
_LEAVING = 5.0
#: For a login shell to say what it has set (s).
_LOGIN = 30.0
#: What matters of that to everybody.
_USUAL = re.compile(r"PATH|HOME|USER|LOGNAME|XDG_STATE_HOME")


@frozen(kw_only=True)
class Forward:
    """A port of this host that leads to another one, seen from the host over there."""

    host: str
    port: int
    local_port: int

    @property
    def words(self) -> tuple[str, ...]:
        """As arguments of ssh."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ("-L", f"127.0.0.1:{self.local_port}:{host}:{self.port}")


class Connection:
    """The connection of this process to one host."""

    _all: ClassVar[dict[tuple[Address, tuple[str, ...]], Connection]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def to(cls, address: Address, words: Sequence[str] = ("ssh",)) -> Connection:
        """The one of this process.

        Parameters
        ----------
        words
            How ssh is called.
        """
        with cls._guard:
            key = address, tuple(words)
            found = cls._all.get(key)
            # A fork has the object of its parent, and must not end what is its parent's.
            if found is None or not found.is_ours:
                found = cls._all[key] = cls(address, words)
            return found

    def __init__(self, address: Address, words: Sequence[str]) -> None:
        self.address = address
        self._words = tuple(words)
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._room = threading.BoundedSemaphore(_SESSIONS)
        self._client: Client | None = None
        self._users: set[str] = set()
        self._forwards: list[Forward] = []
        self._failures = 0
        #: Until when nothing is tried again, and why.
        self._failure: tuple[float, Exception] | None = None
        self._login: Mapping[str, str] | None = None
        #: Which variables of a login shell matter, beside those of `_USUAL`.
        self.wanted: Sequence[re.Pattern[str]] = ()

    def __str__(self) -> str:
        return self.address.host

    @property
    def is_ours(self) -> bool:
        """False in a process that was forked from the one that made it."""
        return self._owner == os.getpid()

    # --- life ---------------------------------------------------------------------------------------------------

    def open(self, *, may_ask: bool = False) -> None:
        """See that it is there. Blocks.

        Parameters
        ----------
        may_ask
            A person waits for it: ssh may ask at the terminal, if there is one, for a password, a second factor, or
            whether a key is right.

        Raises
        ------
        HostUnreachable, LoginRefused
        """
        with self._lock:
            if self._client is None:
                self._client = Client(self.address, self._words)
                atexit.register(self.close)
            if not self._client.is_there():
                self._connect(self._client, may_ask=may_ask)
            self._failures, self._failure = 0, None
            if self._login is None:
                self._login = self._ask_login_shell()

    def _connect(self, client: Client, *, may_ask: bool) -> None:
        if self._failure is not None and not may_ask and time.monotonic() < self._failure[0]:
            raise type(self._failure[1])(str(self._failure[1]))
        try:
            client.start(may_ask=may_ask)
        except (HostUnreachable, LoginRefused) as error:
            often = len(_PAUSES) - 1 if isinstance(error, LoginRefused) else min(self._failures, len(_PAUSES) - 1)
            self._failures += 1
            self._failure = time.monotonic() + _PAUSES[often], error
            raise
        if self._failures:
            logger.warning("%s can be reached again", self)
        for forward in self._forwards:
            client.control("forward", *forward.words)

    def use(self, user: str) -> None:
        """Keep it until this user has let go."""
        with self._lock:
            self._users.add(user)

    def let_go(self, user: str) -> None:
        """Close it if nobody else uses it. Blocks."""
        with self._lock:
            self._users.discard(user)
            if not self._users:
                self.close()

    def close(self) -> None:
        """End the connection; whatever is asked later makes another. Blocks."""
        if not self.is_ours:
            return
        with self._lock:
            client, self._client = self._client, None
            self._forwards.clear()
            if client is not None:
                client.end()
        atexit.unregister(self.close)

    # --- commands -----------------------------------------------------------------------------------------------

    @property
    def variables(self) -> Mapping[str, str]:
        """What a login shell over there has set, of what matters to commands."""
        patterns = [_USUAL, *self.wanted]
        return {name: value for name, value in self.login.items() if any(each.fullmatch(name) for each in patterns)}

    @property
    def login(self) -> Mapping[str, str]:
        """All that a login shell over there has set."""
        return self._login or {}

    @property
    def names(self) -> list[str]:
        """What the host over there is called: by who connects, and by itself."""
        return list(dict.fromkeys([self.address.host, *filter(None, [self.login.get("HOSTNAME")])]))

    async def execute(self, argv: Sequence[str], setting: wire.Setting, stdin: bytes, timeout: float) -> wire.Answer:
        """Run a command over there.

        Raises
        ------
        TimeoutError
            It was ended, over there too if the connection stands.
        HostUnreachable, LoginRefused
            There is no way there, or it was lost meanwhile.
        """
        # What never began may be tried again: the connection may have ended unnoticed.
        for _ in range(2):
            await asyncio.to_thread(self.open)
            answer = await self._execute(argv, setting, stdin, timeout)
            if answer.pid is not None:
                break
        else:
            # One who may not run commands is told so on either stream.
            raise self._way().refused((answer.stderr + answer.stdout).decode(errors="replace"))
        if answer.code is None and not answer.problem:
            raise HostUnreachable(
                f"the connection to {self} was lost while {argv[0]!r} ran there; what it was asked to do may still "
                "happen"
            )
        return answer

    def _way(self) -> Client:
        if self._client is None:
            raise HostUnreachable(f"the connection to {self} was closed")
        return self._client

    async def _execute(self, argv: Sequence[str], setting: wire.Setting, stdin: bytes, timeout: float) -> wire.Answer:
        usual = dict(self.variables)
        setting = evolve(setting, path=usual.pop("PATH", "").split(":"), usual=usual)
        mark = f"corral-{secrets.token_hex(12)}"
        text = wire.orders(mark, argv, setting, timeout).encode()
        stdout, stderr = bytearray(), bytearray()
        async with _Session(self._room):
            process = await self._shell()
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.gather(
                        _feed(process.stdin, text + stdin),
                        _collect(process.stdout, stdout),
                        _collect(process.stderr, stderr),
                        process.wait(),
                    )
            except BaseException:
                await _abandon(process)
                await self._end(wire.read(mark, bytes(stdout), b"").pid)
                raise
        return wire.read(mark, bytes(stdout), bytes(stderr))

    async def _shell(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        # A session of its own: Ctrl-C in a terminal must not end a submission half-way.
        return await asyncio.create_subprocess_exec(
            *self._way().through, wire.LINE, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )

    async def _end(self, pid: int | None) -> None:
        """End over there what nobody waits for any more; what cannot be told is ended there in its time."""
        if pid is None:
            return
        with suppress(HostUnreachable):
            ending = await self._shell()
            try:
                async with asyncio.timeout(_LEAVING):
                    await ending.communicate(wire.ending(pid).encode())
            except TimeoutError:
                await _abandon(ending)

    def _ask_login_shell(self) -> Mapping[str, str] | None:
        """What it has set; None if it could not be asked."""
        mark = f"corral-{secrets.token_hex(12)}"
        try:
            told = at_once(lambda: self._execute((*wire.LOGIN, mark), wire.Setting(), b"", _LOGIN))
        except TimeoutError:
            logger.warning("%s: your login shell there does not end; what it sets, such as PATH, is not used", self)
            return {}
        if told.pid is None:
            return None
        return wire.variables_of(told.stdout.decode(errors="replace"), mark)

    # --- ports --------------------------------------------------------------------------------------------------

    def forward(self, host: str, port: int) -> int:
        """A port on this host's loopback that leads there, also after the connection was lost and made again. Blocks.

        Raises
        ------
        HostUnreachable, LoginRefused
        """
        with self._lock:
            self.open()
            for known in self._forwards:
                if (known.host, known.port) == (host, port):
                    return known.local_port
            problem: str | None = None
            for _ in range(5):
                # Somebody else may take the port before ssh does.
                forward = Forward(host=host, port=port, local_port=free_port())
                problem = self._way().control("forward", *forward.words)
                if problem is None:
                    self._forwards.append(forward)
                    return forward.local_port
            raise HostUnreachable(
                f"{self} lets no connection through to {host}, port {port}: {problem}. Its sshd must allow it "
                "(AllowTcpForwarding)"
            )

    def behind(self, local_port: int) -> tuple[str, int] | None:
        """Where a port of this host leads."""
        return next(((each.host, each.port) for each in self._forwards if each.local_port == local_port), None)


class _Session:
    """Waits until there is room for one more session; threads and event loops share it."""

    def __init__(self, room: threading.BoundedSemaphore) -> None:
        self._room = room

    async def __aenter__(self) -> None:
        while not self._room.acquire(blocking=False):  # noqa: ASYNC110 - no event tells several loops
            await asyncio.sleep(_GLANCE)

    async def __aexit__(self, *error: object) -> None:
        self._room.release()


async def _abandon(process: asyncio.subprocess.Process) -> None:
    """End a client, whose ends of our pipes the connection's process has, too: they may stay open for long."""
    process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001 - nothing else closes them
    await process.wait()


async def _feed(stream: asyncio.StreamWriter | None, text: bytes) -> None:
    assert stream is not None
    # One that ends without reading it says why on another stream.
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(text)
        await stream.drain()
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.close()
        await stream.wait_closed()


async def _collect(stream: asyncio.StreamReader | None, into: bytearray) -> None:
    assert stream is not None
    while piece := await stream.read(2**16):
        into += piece


def at_once(coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a coroutine returns, where nobody can await it: also inside a running event loop, which stands still."""
    with threads_allowed(), concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(coroutine())).result()
