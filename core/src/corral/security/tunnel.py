"""A TCP port that leads to another one: through two of these a browser reaches a dashboard in a job, over TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Any, Self

from tornado.netutil import bind_sockets

from corral.security.door import Door
from corral.security.half_open import Acceptor, of_this_loop

#: Bytes at a time.
_PIECE = 2**16


class Tunnel:
    """Listens on one port, and passes every connection on to another once something has come through it.

    Until then, for who has no key should cost little, it holds one descriptor and is half-open: see `half_open`.
    """

    def __init__(
        self,
        to: tuple[str, int],
        accepts: ssl.SSLContext | None,
        connects: ssl.SSLContext | None,
        host: str | None,
        door: Door | None,
    ) -> None:
        self._to = to
        self._accepts = accepts
        self._connects = connects
        self._door = door
        self._connections: set[asyncio.Task[None]] = set()
        self._half_open = of_this_loop()
        self._sockets = bind_sockets(0, host)
        self._acceptors = [Acceptor(listening, self._take) for listening in self._sockets]

    @classmethod
    async def open(
        cls,
        to: tuple[str, int],
        *,
        host: str | None = None,
        accepts: ssl.SSLContext | None = None,
        connects: ssl.SSLContext | None = None,
        door: Door | None = None,
    ) -> Self:
        """Begin to listen, on any free port.

        Parameters
        ----------
        to
            Host and port to which connections are passed on.
        host
            Where to listen; None: everywhere.
        accepts, connects
            How connections that come, and those that go, prove themselves; None: plain TCP.
        door
            Who does not know its prefix is turned away before anything is passed on. None: nobody is.
        """
        return cls(to, accepts, connects, host, door)

    @property
    def port(self) -> int:
        """Where it listens."""
        number: int = self._sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Cut all connections."""
        for acceptor, listening in zip(self._acceptors, self._sockets):
            acceptor.stop()
            listening.close()
        # Each has begun then: one that is cancelled before would leave its connection open.
        await asyncio.sleep(0)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _take(self, connection: socket.socket, address: Any) -> None:
        task = asyncio.create_task(self._serve(connection, address[0]))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket, host: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        writer: asyncio.StreamWriter | None = None
        try:
            # A browser that leaves, or a dashboard that is gone, is no event.
            with suppress(OSError):
                with self._half_open.admitted(host, task.cancel):
                    reader, writer = await _streams(connection, self._accepts)
                    first = await (self._door.admit(reader, writer) if self._door else reader.read(_PIECE))
                if first:
                    await self._pass_on(first, reader, writer)
        finally:
            if writer is not None:
                writer.close()

    async def _pass_on(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(*self._to, ssl=self._connects)
        their_writer.write(first)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, their_writer))
                group.create_task(_pump(their_reader, writer))
        except* OSError:
            pass
        finally:
            their_writer.close()


async def _streams(
    connection: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Speak with who was accepted; with a context, after a TLS handshake."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    connection.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    # TLS cannot be closed in one direction alone.
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
