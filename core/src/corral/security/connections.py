"""Connections to one Dask server, of one's own, whose end takes no answer's place.

Where both sides close a connection at the same moment, distributed shuts down a socket that is no longer there, and
raises AttributeError. What was asked has been answered by then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from distributed.core import rpc


@asynccontextmanager
async def connected(address: str, arguments: Mapping[str, Any], timeout: float | None = None) -> AsyncIterator[Any]:
    """Call a server's operations, each a coroutine function of what this yields; they raise what the server raised.

    Parameters
    ----------
    arguments
        What `distributed.Security.get_connection_args` gives.
    timeout
        How long connecting may take (s); None: as Dask's configuration says.
    """
    server = rpc(address, timeout=timeout, connection_args=dict(arguments))
    try:
        yield server
    finally:
        await disconnect(server)


async def disconnect(server: Any) -> None:
    """Close what `distributed.rpc` has opened, however that ends."""
    with suppress(Exception):
        await server.close_rpc()
