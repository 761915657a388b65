"""Addresses of this host, and limits that a busy scheduler meets."""

from __future__ import annotations

import logging
import os
import resource
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import psutil
from distributed.utils import format_dashboard_link, get_ip_interface

from corral.errors import InvalidRequest, did_you_mean

logger = logging.getLogger("corral")

#: fs.nr_open, by default.
_CEILING = 1_048_576
#: The Dask scheduler needs two to three file descriptors a worker.
DESCRIPTORS_PER_WORKER = 3


def host_of_interface(argument: str, interface: str) -> str:
    """The address of a network interface of this host.

    Raises
    ------
    InvalidRequest
        There is no such interface here; names those that are.
    """
    known = sorted(psutil.net_if_addrs())
    if interface not in known:
        raise InvalidRequest(
            argument,
            f"this host has no network interface {interface!r}, only {', '.join(known)}."
            f"{did_you_mean(interface, known)} If only the compute nodes have it, use worker_interface=",
        )
    address: str = get_ip_interface(interface)
    return address


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


def dashboard_link(port: int, prefix: str) -> str:
    """Where a person finds the dashboard that listens on loopback under an unguessable prefix.

    Honours ``distributed.dashboard.link``; inside JupyterHub, the default becomes the hub's proxy.
    """
    import dask.config

    template = dask.config.get("distributed.dashboard.link")
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if hub and template == "{scheme}://{host}:{port}/status":
        return f"{hub.rstrip('/')}/proxy/{port}{prefix}/status"
    link: str = format_dashboard_link("127.0.0.1", port)
    head, status, _ = link.rpartition("/status")
    return f"{head}{prefix}{status}" if status else f"{link.rstrip('/')}{prefix}/status"


def raise_descriptor_limit(workers: int = 0) -> None:
    """Allow as many open files as the system lets us, and warn if `workers` will not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What is not limited still has a ceiling in the kernel, which refuses more.
    wanted = max(soft, _CEILING) if hard == resource.RLIM_INFINITY else hard
    if soft != wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if hard != resource.RLIM_INFINITY and workers * DESCRIPTORS_PER_WORKER + 100 > hard:
        logger.warning(
            "%d workers need some %d open files and this host allows %d (ulimit -Hn): the scheduler will stall. "
            "Ask for fewer, larger workers, or run the scheduler elsewhere.",
            workers, workers * DESCRIPTORS_PER_WORKER + 100, hard,
        )  # fmt: skip
