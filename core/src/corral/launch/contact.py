"""From a path on the command line to a scheduler that answers, before distributed is imported."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from attrs import frozen

from corral.errors import CredentialsError
from corral.launch.ending import Ended, Exit
from corral.security.credentials import Credentials
from corral.security.tls import bear_with_silent_ends

#: Seconds for which a file server may hide a file that was just written: NFS clients cache for up to 60.
_HIDDEN = 60.0
#: Seconds of nothing but refusals after which the scheduler is taken for dead: a killed cluster leaves its file.
_REFUSED = 10.0
#: Seconds for two sides to say goodbye.
_LEAVE = 0.1
#: Seconds for one attempt, and the head start of an address over the next one.
_ATTEMPT = 5.0
_HEAD_START = 0.25


async def wait_for_credentials(path: str, created: float | None) -> Credentials:
    """Read the credentials, waiting for a slow file system to show them.

    Raises
    ------
    Ended
        There are none (any more), or they cannot be trusted.
    """
    patience = 0.0 if created is None else min(_HIDDEN, created + _HIDDEN - time.time())
    deadline = time.monotonic() + patience
    while True:
        try:
            return Credentials.read(path)
        except FileNotFoundError:
            ended = Ended(Exit.DONE, f"the cluster has ended: there are no credentials at {path}")
        except (CredentialsError, OSError) as error:
            ended = Ended(Exit.FAILED, str(error))
        if time.monotonic() >= deadline:
            raise ended
        await asyncio.sleep(0.5)


@frozen(kw_only=True)
class Contact:
    """Where the scheduler is."""

    address: str
    #: This host's own address on the way there; None: not known.
    local_host: str | None


async def find_scheduler(credentials: Credentials, patience: float) -> Contact:
    """Try the scheduler's addresses until one accepts a connection and proves that it belongs to the cluster.

    Parameters
    ----------
    patience
        Seconds. If every address refuses, `_REFUSED` seconds are enough.

    Raises
    ------
    Ended
        None did; names each address and how it failed.
    """
    context = _tls_context(credentials)
    began = refused_since = time.monotonic()
    while True:
        contact, problems = await _attempt(credentials.addresses, context)
        if contact is not None:
            return contact
        now = time.monotonic()
        if _SILENT in problems.values():
            refused_since = now
        if now - began >= patience or now - refused_since >= _REFUSED:
            tried = "; ".join(f"{address}: {problem}" for address, problem in problems.items()) or "none: none is known"
            raise Ended(Exit.UNAVAILABLE, f"no scheduler answered within {now - began:.0f} s; tried {tried}")
        await asyncio.sleep(0.5)


async def knock(credentials: Credentials) -> tuple[Contact | None, str]:
    """Try the scheduler's addresses once; None, and why, if nobody there proves that it belongs to the cluster."""
    contact, problems = await _attempt(credentials.addresses, _tls_context(credentials))
    # Connections take leave on the event loop, which may end with this.
    await asyncio.sleep(_LEAVE)
    tried = "; ".join(f"{address}: {problem}" for address, problem in problems.items()) or "no address is known"
    return contact, "" if contact else tried


_SILENT = f"no answer within {_ATTEMPT:g} s"


async def _attempt(addresses: Sequence[str], context: ssl.SSLContext | None) -> tuple[Contact | None, dict[str, str]]:
    """The first address that answers, each having a head start over the next; or why none of them does."""
    contacts: list[Contact] = []
    problems: dict[str, str] = {}

    async def knock(address: str) -> None:
        try:
            async with asyncio.timeout(_ATTEMPT):
                contacts.append(Contact(address=address, local_host=await _knock(address, context)))
        except TimeoutError:
            problems[address] = _SILENT
        except ssl.SSLError as error:
            problems[address] = f"not the scheduler of this cluster: {error.reason}"
        except (OSError, ValueError) as error:
            problems[address] = _plain(error)

    knocking: set[asyncio.Task[None]] = set()
    try:
        for address in addresses:
            knocking.add(asyncio.create_task(knock(address)))
            await asyncio.wait(knocking, timeout=_HEAD_START, return_when=asyncio.FIRST_COMPLETED)
            if contacts:
                break
        while not contacts and (waiting := [task for task in knocking if not task.done()]):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in knocking:
            task.cancel()
        await asyncio.gather(*knocking, return_exceptions=True)
    return (contacts[0] if contacts else None), problems


async def _knock(address: str, context: ssl.SSLContext | None) -> str | None:
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls", "ws", "wss"):
        # Not TCP (ucx://, say): only distributed can try it.
        return None
    _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    local_host: str = writer.get_extra_info("sockname")[0]
    writer.close()
    return local_host


def _plain(error: Exception) -> str:
    # asyncio words it "[Errno 111] Connect call failed ('10.0.0.1', 4000)".
    code = error.errno if isinstance(error, OSError) else None
    return os.strerror(code).lower() if code is not None and code > 0 else str(error)


def _tls_context(credentials: Credentials) -> ssl.SSLContext | None:
    if credentials.key is None or credentials.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The certificate names the cluster, not a host.
    context.check_hostname = False
    context.load_verify_locations(cadata=credentials.ca)
    with tempfile.NamedTemporaryFile("w", prefix="corral-") as file:
        file.write(credentials.certificate + credentials.key)
        file.flush()
        context.load_cert_chain(file.name)
    return bear_with_silent_ends(context)
