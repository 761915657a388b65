"""A TCP port that leads to another one: through two of these a browser reaches a dashboard in a job, over TLS."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Self

#: Bytes at a time.
_PIECE = 2**16


class Tunnel:
    """Listens on one port, and passes every connection on to another."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        to: tuple[str, int],
        *,
        host: str | None = None,
        accepts: ssl.SSLContext | None = None,
        connects: ssl.SSLContext | None = None,
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
        """
        tunnel = cls(*to, connects)
        tunnel._server = await asyncio.start_server(tunnel._accept, host, 0, ssl=accepts)
        return tunnel

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Cut all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # A browser that leaves, or a dashboard that is gone, is no event.
            with suppress(OSError):
                await self._pass_on(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, their_writer))
                group.create_task(_pump(their_reader, writer))
        except* OSError:
            pass
        finally:
            their_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    # TLS cannot be closed in one direction alone.
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
