"""The address that workers will use."""

from __future__ import annotations

import socket
from contextlib import suppress

from corral.plugin.values import Finding, Verdict
from corral.security.addresses import addresses_of

_SUBJECT = "address"
#: Seconds to connect to oneself.
_PATIENCE = 5.0


def listening(host: str | None, port: int) -> Finding:
    """Whether a scheduler could listen there, and be reached at least from here.

    Parameters
    ----------
    host
        None: on all interfaces.
    """
    try:
        hosts = [host] if host is not None else _hosts()
        with socket.create_server((host or "", port)) as server:
            found = server.getsockname()[1]
            for each in hosts:
                socket.create_connection((each, found), timeout=_PATIENCE).close()
                # It is taken off the queue, which is short.
                server.settimeout(_PATIENCE)
                server.accept()[0].close()
    except OSError as error:
        where = f"{host or 'any address'}, port {port or 'any'}"
        return Finding(
            subject=_SUBJECT,
            verdict=Verdict.WRONG,
            text=f"nothing can be reached at {where}, even from here: {(error.strerror or str(error)).lower()}",
            cure="Name another network with interface=, or another port with scheduler_port=",
        )
    words = ", ".join(f"{each} ({_interface(each)})" for each in hosts)
    return Finding(subject=_SUBJECT, verdict=Verdict.GOOD, text=f"{words}; reached from here")


def loopback(host: str | None) -> Finding | None:
    """A doubt, if only this host could reach the scheduler."""
    hosts = [host] if host is not None else _hosts()
    if not all(each.startswith("127.") for each in hosts):
        return None
    return Finding(
        subject=_SUBJECT,
        verdict=Verdict.DOUBTFUL,
        text=f"{', '.join(hosts)} is loopback: only jobs that run on this very host reach it",
        cure="Name a network that this host and the nodes share with interface=",
    )


def _hosts() -> list[str]:
    """The addresses of a scheduler that listens everywhere, without loopback if there are others."""
    from distributed.utils import get_ip

    contacts = addresses_of(f"tls://{get_ip()}:0", everywhere=True)
    hosts = list(dict.fromkeys(contact.removeprefix("tls://").rpartition(":")[0] for contact in contacts))
    return [host for host in hosts if not host.startswith("127.")] or hosts


def _interface(host: str) -> str:
    import psutil

    with suppress(OSError):
        for name, entries in psutil.net_if_addrs().items():
            if any(entry.address == host for entry in entries):
                return name
    return "no interface of this host"
