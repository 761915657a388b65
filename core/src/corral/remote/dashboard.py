"""The way to a dashboard elsewhere."""

from __future__ import annotations

from distributed import Security

from corral.security import addresses
from corral.security.door import Door
from corral.security.tunnel import Tunnel


async def tunnel_to_dashboard(to: tuple[str, int], prefix: str, security: Security) -> Tunnel:
    """Let this host's loopback lead to the dashboard of a scheduler elsewhere.

    Parameters
    ----------
    to
        Host and port where it takes what comes through the tunnel.
    prefix
        The dashboard's, without which nothing is let in.
    """
    # What is TLS between browser and dashboard is read at the scheduler's end alone.
    door = None if addresses.dashboard_has_tls() else Door.of(prefix)
    context = security.get_connection_args("client").get("ssl_context")
    return await Tunnel.open(to, host="127.0.0.1", door=door, connects=context)
