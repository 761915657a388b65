"""The door of a dashboard: without its secret prefix, every request gets the answer that there is nothing here.

Loopback is shared by everyone on a login node, and a dashboard has no passwords. So whatever does not begin with the
prefix gets the same answer, before anything has been parsed that the sender could learn from. Behind the door the
prefix is taken off: the application writes addresses that are relative, and so hold behind any proxy.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream

#: All that a stranger hears. No server names itself like this.
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: How long a connection may take to name the prefix (s).
PATIENCE = 10.0
#: How much it may say until then (bytes).
LONGEST_LINE = 2**16
#: How long to read what a stranger still sends (s): closing the connection earlier may lose the answer.
LINGERING = 2.0

_PIECE = 2**16

Read = Callable[[], Awaitable[bytes]]


class Door:
    """Knows the prefix, and who knows it too.

    Parameters
    ----------
    prefix
        Begins with a slash, and does not end with one.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._secret = prefix.encode()

    @classmethod
    def of(cls, prefix: str) -> Self | None:
        """The door with this prefix, however it is written; None if nothing remains of it."""
        path = prefix.strip("/")
        return cls(f"/{path}") if path else None

    @classmethod
    def with_secret(cls) -> Self:
        """A new one, whose prefix nobody can guess."""
        return cls(f"/{secrets.token_urlsafe(16)}")

    def within(self, target: str) -> str | None:
        """What follows the prefix in a request's target, the empty text too; None: it is outside."""
        asked = target.encode("latin-1", "replace")
        length = len(self._secret)
        knows = hmac.compare_digest(asked[:length], self._secret)
        return target[length:] if knows and asked[length : length + 1] in (b"", b"/", b"?") else None

    async def hear(self, read: Read) -> bytes | None:
        """Read until it is certain that a connection may come in.

        Parameters
        ----------
        read
            Some bytes; none: there is nothing more.

        Returns
        -------
        bytes | None
            What was read; None if it may not.
        """
        heard = b""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(PATIENCE):
                while b"\n" not in heard and len(heard) < LONGEST_LINE:
                    piece = await read()
                    if not piece:
                        return None
                    heard += piece
                words = heard.partition(b"\n")[0].rstrip(b"\r").split(b" ")
                if len(words) == 3 and words[2] in (b"HTTP/1.1", b"HTTP/1.0"):
                    return heard if self.within(words[1].decode("latin-1")) is not None else None
        return None

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """What an admitted connection has said so far; None: it was turned away, and has had its answer."""
        heard = await self.hear(lambda: reader.read(_PIECE))
        if heard is None:
            with suppress(OSError):
                writer.write(NOT_FOUND)
                writer.write_eof()
                await _listen_on(lambda: reader.read(_PIECE))
        return heard

    def guard(self, server: HTTPServer) -> None:
        """Stand before a server that has accepted nothing yet."""
        serve, stop, application = server.handle_stream, server.stop, server.request_callback
        assert isinstance(application, HTTPServerConnectionDelegate)
        tasks: set[asyncio.Task[None]] = set()

        async def take(stream: IOStream, address: Any) -> None:
            try:
                heard = await self.hear(lambda: stream.read_bytes(_PIECE, partial=True))
            except asyncio.CancelledError:
                stream.close()
                raise
            if heard is None:
                await _turn_away(stream)
            else:
                _unread(stream, heard)
                serve(stream, address)

        def handle_stream(stream: IOStream, address: Any) -> None:
            task = asyncio.create_task(take(stream, address), name="corral door")
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        def stop_all() -> None:
            stop()
            for task in tasks:
                task.cancel()

        server.handle_stream, server.stop = handle_stream, stop_all  # type: ignore[method-assign]
        server.request_callback = _Within(self, application)


async def _listen_on(read: Read) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGERING):
            while await read():
                pass


async def _turn_away(stream: IOStream) -> None:
    try:
        with suppress(OSError):
            await stream.write(NOT_FOUND)
            stream.socket.shutdown(socket.SHUT_WR)
            if not stream.reading():
                await _listen_on(lambda: stream.read_bytes(_PIECE, partial=True))
    finally:
        stream.close()


def _unread(stream: IOStream, heard: bytes) -> None:
    # tornado can give up a connection's stream, but not what was read from it.
    stream._read_buffer[:0] = heard  # noqa: SLF001
    stream._read_buffer_size += len(heard)  # noqa: SLF001


# --- behind the door --------------------------------------------------------------------------------------------


class _Within(HTTPServerConnectionDelegate):
    """An application that never hears of the prefix."""

    def __init__(self, door: Door, application: HTTPServerConnectionDelegate) -> None:
        self._door = door
        self._application = application

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(
            self._door, request_conn, lambda connection: self._application.start_request(server_conn, connection)
        )

    def on_close(self, server_conn: object) -> None:
        self._application.on_close(server_conn)


class _Request(HTTPMessageDelegate):
    """One of maybe many on a connection: the next may be outside again."""

    def __init__(
        self, door: Door, connection: HTTPConnection, begin: Callable[[HTTPConnection], HTTPMessageDelegate]
    ) -> None:
        self._door = door
        self._connection = connection
        self._begin = begin
        self._inner: HTTPMessageDelegate | None = None
        self._farewell: asyncio.Task[None] | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        path = self._door.within(start_line.path)
        if path is None:
            stream = self._connection.detach()  # type: ignore[attr-defined]
            self._farewell = asyncio.create_task(_turn_away(stream))
            return None
        self._inner = self._begin(_Connection(self._connection, self._door.prefix, path))  # type: ignore[arg-type]
        inside = path if path.startswith("/") else f"/{path}"
        return self._inner.headers_received(start_line._replace(path=inside), headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._inner is not None
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        assert self._inner is not None
        self._inner.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()


class _Connection:
    """A connection whose answers lead to where the asker is, not to where the application believes to be."""

    def __init__(self, connection: HTTPConnection, prefix: str, path: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> Any:
        if "Location" in headers:
            headers["Location"] = relative(headers["Location"], self._prefix, self._path)
        cookies = headers.get_list("Set-Cookie")
        if cookies:
            del headers["Set-Cookie"]
            for cookie in cookies:
                headers.add("Set-Cookie", without_path(cookie))
        return self._connection.write_headers(start_line, headers, chunk)


def relative(location: str, prefix: str, path: str) -> str:
    """Where an address of the application is, seen from the page that leads there.

    Parameters
    ----------
    location
        ``/status``, or ``status``; what leads to another server stays as it is.
    path
        What follows the prefix in the target of the request that is answered.
    """
    parts = urlsplit(location)
    if location.startswith("//") or parts.scheme or not parts.path:
        return location
    path = path.partition("?")[0]
    if not path:
        # Without a slash at its end, the prefix itself is a page of the folder above.
        return f".{prefix[prefix.rindex('/') :]}/{location.removeprefix('/')}"
    if not location.startswith("/"):
        return location
    return ("../" * (path.count("/") - 1) or "./") + location[1:]


def without_path(cookie: str) -> str:
    """A cookie for the folder of the page that sets it: cookies know no ports, and are sent to others on this host."""
    parts = [part for part in cookie.split(";") if not part.strip().lower().startswith("path=")]
    return ";".join(parts)
