"""The way from a handle to the scheduler: straight, or through the connection to the host that ``via=`` names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from attrs import evolve

from corral.errors import HostUnreachable, LoginRefused
from corral.launch.contact import Contact, find_scheduler
from corral.security.credentials import Credentials
from corral.ssh.elsewhere import Elsewhere
from corral.text.logs import logger_of

logger = logger_of()

#: A host to which there is no way is tried again after so long (s).
_AGAIN = 5.0


async def contact_of(credentials: Credentials, elsewhere: Elsewhere | None, patience: float) -> Contact:
    """Where the scheduler is for this process: of a distant one, a port of this host that leads there.

    Raises
    ------
    Ended
        It does not answer.
    HostUnreachable, LoginRefused
    """
    if elsewhere is not None:
        there = [urlsplit(address) for address in credentials.addresses]
        ways = [
            f"{each.scheme}://127.0.0.1:{await _forwarded(elsewhere, each.hostname or '', each.port or 0)}"
            for each in there
        ]
        credentials = evolve(credentials, addresses=ways)
    return await find_scheduler(credentials, patience)


async def dashboard_at(address: str, port: int, elsewhere: Elsewhere | None) -> tuple[str, int]:
    """Where this process reaches what leads to the dashboard.

    Parameters
    ----------
    address, port
        Of the scheduler, as `contact_of` found it; and where it takes what is for the dashboard.
    """
    parts = urlsplit(address)
    if elsewhere is not None and (there := elsewhere.connection.behind(parts.port or 0)) is not None:
        return "127.0.0.1", await _forwarded(elsewhere, there[0], port)
    return parts.hostname or "", port


async def persistently(attach: Callable[[], Awaitable[None]], name: str) -> None:
    """Attach to a cluster, however long there is no way to its host: it needs no connection of ours to go on.

    Raises
    ------
    Exception
        Whatever else `attach` raises.
    """
    told = ""
    while True:
        try:
            await attach()
        except (HostUnreachable, LoginRefused) as error:
            if str(error) != told:
                logger.warning("cluster %s cannot be reached, and is looked for again: %s", name, error, cluster=name)
            told = str(error)
            await asyncio.sleep(_AGAIN)
        else:
            return


async def _forwarded(elsewhere: Elsewhere, host: str, port: int) -> int:
    return await asyncio.to_thread(elsewhere.connection.forward, host, port)
