"""distributed's servers, listening as corral wants them to: strangers' connections are few, short, and told in a line.

distributed 2026.8 has no time-out for the handshakes of those who connect to it, and no bound for their number; both
would have to be in its listeners, which it makes itself. So they are attended to once they listen.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from distributed import Nanny, Worker
from distributed.comm.addressing import unparse_host_port
from distributed.comm.tcp import BaseTCPListener
from distributed.core import Server
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer

from corral.security.half_open import Acceptor, HalfOpen, of_this_loop, reason

S = TypeVar("S", bound=Server)
W = TypeVar("W", bound=Worker | Nanny)

#: Those of this process, by what logs call them: tornado tells the descriptor, distributed the other side's address.
_known: dict[int | str, HalfOpen] = {}


def guarded(server: S) -> S:
    """Have a server of distributed's, which has not begun yet, listen as described; a nanny's worker as well."""
    listen = server.listen

    async def listen_guarded(*arguments: Any, **more: Any) -> None:
        await listen(*arguments, **more)
        listener = server.listeners[-1]
        if isinstance(listener, BaseTCPListener):
            guard(listener)

    server.listen = listen_guarded  # type: ignore[method-assign]
    if isinstance(server, Nanny):
        server.Worker = functools.partial(guarded_worker, server.Worker)
    return server


def guarded_worker(worker_class: Callable[..., W], *arguments: Any, **more: Any) -> W:
    """Make a worker (or a nanny) that listens as described, and has no HTTP server that nobody asked for.

    distributed's worker has one on all interfaces, which tells everybody who reaches the node how it fares.
    """
    worker = guarded(worker_class(*arguments, **more))
    # Asked for by its arguments, or by a class of the user's own.
    if isinstance(worker, Worker) and worker._dashboard_address is None:  # noqa: SLF001
        if worker._dashboard:  # noqa: SLF001
            worker._dashboard_address = "127.0.0.1:0"  # noqa: SLF001
        else:
            worker.start_http_server = lambda *_, **__: None  # type: ignore[method-assign]
    return worker


def guard(listener: BaseTCPListener) -> None:
    """Keep account of what comes to a listener until its handshakes are over: TLS's, and distributed's own."""
    be_brief()
    server: Any = listener.tcp_server
    establish: Callable[[Any, Any], Awaitable[None]] = server.handle_stream
    here = _accept(server)

    def handle_stream(stream: IOStream, address: Any) -> Awaitable[None]:
        connection = here.admit(stream, address)
        names: tuple[Any, ...] = (stream.fileno(), unparse_host_port(*address[:2]))
        _known.update(dict.fromkeys(names, connection))

        async def established() -> None:
            try:
                # tornado would wait for a handshake on a closed stream for ever.
                if not stream.closed():
                    await establish(stream, address)
            except Exception as error:
                # Of one that was closed here nothing is left to say; a listener that has stopped stumbles over it.
                if here.release(connection) and not isinstance(error, OSError):
                    raise
            finally:
                here.release(connection)
                for name in names:
                    if _known.get(name) is connection:
                        del _known[name]

        return established()

    server.handle_stream = handle_stream


def guard_http(server: HTTPServer, prefix: str) -> None:
    """Keep account of what comes to an HTTP server until a request names its secret prefix.

    What else stands before the server must do so already: this comes first.
    """
    serve, start_request = server.handle_stream, server.start_request
    here = _accept(server)
    strangers: weakref.WeakKeyDictionary[object, HalfOpen] = weakref.WeakKeyDictionary()

    def handle_stream(stream: IOStream, address: Any) -> None:
        stranger = strangers[stream] = here.admit(stream, address)
        close = stream.close

        def close_and_release(*arguments: Any, **more: Any) -> None:
            here.release(stranger)
            close(*arguments, **more)

        # Its close callback belongs to whoever serves it.
        stream.close = close_and_release  # type: ignore[method-assign]
        serve(stream, address)

    def start(server_connection: Any, request: HTTPConnection) -> HTTPMessageDelegate:
        delegate = start_request(server_connection, request)
        if (stranger := strangers.pop(server_connection.stream, None)) is not None:
            hear = delegate.headers_received

            def headers_received(line: Any, headers: Any) -> Any:
                if line.path.startswith(prefix):
                    here.release(stranger)
                else:
                    strangers[server_connection.stream] = stranger
                return hear(line, headers)

            delegate.headers_received = headers_received  # type: ignore[method-assign, assignment]
        return delegate

    server.handle_stream, server.start_request = handle_stream, start  # type: ignore[method-assign, assignment]


class _Here:
    """The half-open connections of one server; they end with it."""

    def __init__(self) -> None:
        self._half_open = of_this_loop()
        self._connections: set[HalfOpen] = set()

    def admit(self, stream: IOStream, address: Any) -> HalfOpen:
        # Looked up when it is called: it may have been replaced by then.
        connection = self._half_open.admit(address[0], lambda: stream.close())  # noqa: PLW0108
        self._connections.add(connection)
        return connection

    def release(self, connection: HalfOpen) -> bool:
        self._connections.discard(connection)
        return self._half_open.release(connection)

    def close(self) -> None:
        for connection in list(self._connections):
            if self._half_open.release(connection):
                connection.close()


def _accept(server: TCPServer) -> _Here:
    """Accept for a server that listens already; `TCPServer.add_sockets` and `stop` use the same private names."""
    here = _Here()

    def stop(acceptor: Acceptor) -> None:
        acceptor.stop()
        here.close()

    for descriptor, listening in server._sockets.items():  # noqa: SLF001
        server._handlers.pop(descriptor)()  # noqa: SLF001
        acceptor = Acceptor(listening, server._handle_connection)  # noqa: SLF001
        server._handlers[descriptor] = functools.partial(stop, acceptor)  # noqa: SLF001
    return here


def _complain(connection: HalfOpen, error: object) -> None:
    # One that was closed here has been told of.
    if (half_open := of_this_loop()).release(connection):
        half_open.complaints.add(connection.host, reason(error))


class _Briefly(logging.Filter):
    """Handshakes that fail here are told together: see `corral.security.half_open.Complaints`."""

    def filter(self, record: logging.LogRecord) -> bool:
        match record.msg, record.args:
            case "SSL Error on %s %s: %s", (int(descriptor), _, _):
                # distributed tells the same next.
                return descriptor not in _known
            case "Listener on %r: TLS handshake failed with remote %r: %s", (_, str(peer), error):
                if (connection := _known.get(peer.partition("://")[2])) is not None:
                    _complain(connection, error)
                    return False
        return True


_briefly = _Briefly()


def be_brief() -> None:
    """Have the libraries that shake hands not tell of each that fails."""
    for name in ("tornado.general", "distributed.comm.tcp"):
        # Twice is once.
        logging.getLogger(name).addFilter(_briefly)
