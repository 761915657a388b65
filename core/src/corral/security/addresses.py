"""Addresses of this host."""

from __future__ import annotations

import functools
import os
import socket
from urllib.parse import urlsplit

import dask.config
import psutil
from distributed.utils import format_dashboard_link, get_ip_interface

from corral.errors import InvalidRequest, did_you_mean
from corral.text.logs import logger_of

logger = logger_of()

#: Dask's own template of a dashboard's address: nobody has asked for another one.
PLAIN_LINK = "{scheme}://{host}:{port}/status"


def host_of_interface(argument: str, interface: str) -> str:
    """The address of a network interface of this host.

    Raises
    ------
    InvalidRequest
        There is no such interface here; names those that are.
    """
    if not isinstance(interface, str):
        raise InvalidRequest(argument, f"{interface!r} is not the name of a network interface, like 'ib0'")
    known = sorted(psutil.net_if_addrs())
    if interface not in known:
        raise InvalidRequest(
            argument,
            f"this host has no network interface {interface!r}, only {', '.join(known)}."
            f"{did_you_mean(interface, known)} If only the compute nodes have it, use worker_interface=",
        )
    try:
        address: str = get_ip_interface(interface)
    except ValueError:
        has = "IPv6 addresses alone" if _has_ipv6(interface) else "no address"
        others = [name for name in known if _has_ipv4(name)]
        raise InvalidRequest(
            argument,
            f"{interface!r} has {has}, and Dask asks interfaces for an IPv4 address; those that have one: "
            f"{', '.join(others) or 'none'}",
        ) from None
    return address


def _has_ipv4(interface: str) -> bool:
    return any(entry.family is socket.AddressFamily.AF_INET for entry in psutil.net_if_addrs().get(interface, ()))


def _has_ipv6(interface: str) -> bool:
    return any(entry.family is socket.AddressFamily.AF_INET6 for entry in psutil.net_if_addrs().get(interface, ()))


def addresses_of(contact: str, *, everywhere: bool) -> tuple[str, ...]:
    """Every address under which a scheduler may be reached, the likeliest first.

    Parameters
    ----------
    contact
        The address that the scheduler names itself: ``tls://10.0.0.1:4000``.
    everywhere
        It listens on all interfaces.
    """
    if not everywhere:
        return (contact,)
    parts = urlsplit(contact)
    hosts = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family is socket.AddressFamily.AF_INET
    ]
    # Loopback serves jobs that run on this very host; elsewhere it is refused at once.
    hosts.sort(key=lambda host: host.startswith("127."))
    return tuple(dict.fromkeys([contact, *(f"{parts.scheme}://{host}:{parts.port}" for host in hosts)]))


def dashboard_link(port: int, prefix: str, host: str = "127.0.0.1") -> str:
    """Where a person finds a dashboard that listens under an unguessable prefix.

    Honours ``distributed.dashboard.link``, which need not know the prefix; inside JupyterHub, the default becomes the
    hub's proxy. A template that cannot be filled in is told once, and the plain address returned.
    """
    template = str(dask.config.get("distributed.dashboard.link"))
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if hub and template == PLAIN_LINK:
        return f"{hub.rstrip('/')}/proxy/{port}{prefix}/status"
    with dask.config.set({"distributed.dashboard.link": link_template(template, prefix)}):
        try:
            link: str = format_dashboard_link(host, port)
        # All that str.format raises on a text that somebody else wrote.
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            missing = f"there is no variable {error}" if isinstance(error, KeyError) else str(error)
            _tell_once(f"distributed.dashboard.link is {template!r}, which cannot be filled in: {missing}")
            return f"{'https' if dashboard_has_tls() else 'http'}://{host}:{port}{prefix}/status"
    return link


def link_template(template: str, prefix: str) -> str:
    """The template of links to a dashboard, ``distributed.dashboard.link``, with a prefix before its path."""
    head, status, rest = template.rpartition("/status")
    return f"{head}{prefix}{status}{rest}" if status else f"{template.rstrip('/')}{prefix}/status"


def dashboard_has_tls() -> bool:
    """True if Dask's configuration has certificates for dashboards."""
    return bool(dask.config.get("distributed.scheduler.dashboard.tls.cert"))


@functools.cache
def _tell_once(words: str) -> None:
    logger.warning("%s", words)
