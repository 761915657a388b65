"""What distributed's schedulers, workers and clients get from corral to make TLS contexts: a `Security` of its own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from distributed import Security
from distributed.node import ServerNode

from corral.security.tls import bear_with_silent_ends


class ClusterSecurity(Security):
    """Another `Security`, whose contexts bear with peers who leave without a word: see `corral.security.tls`.

    It asks the other one, which may be of a class of the user's. Workers get it pickled, as they do any other.
    """

    def __init__(self, security: Security) -> None:
        self._asked = security
        # distributed reads these without asking.
        for name in Security.__slots__:
            setattr(self, name, getattr(security, name))

    @classmethod
    def of(cls, security: Security | Mapping[str, Any] | None) -> ClusterSecurity:
        """Made from anything that distributed takes; the same one, if it is of this kind already."""
        if isinstance(security, cls):
            return security
        return cls(security if isinstance(security, Security) else Security(**(security or {})))

    def get_tls_config_for_role(self, role: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._asked.get_tls_config_for_role(role)
        return answer

    def get_connection_args(self, role: str) -> dict[str, Any]:
        return _mended(self._asked.get_connection_args(role))

    def get_listen_args(self, role: str) -> dict[str, Any]:
        return _mended(self._asked.get_listen_args(role))


#: For ``distributed.client.security-loader``, where a plain ``Client()`` should find a cluster of corral's.
LOADER = f"{__name__}.configured"


def configured(_info: Mapping[str, Any]) -> ClusterSecurity:
    """What `Client` takes from the configuration by itself if nobody says ``security=``."""
    return ClusterSecurity(Security())


def bear_with_silent_browsers(node: ServerNode) -> None:
    """The same for a scheduler's or worker's HTTP server, if it speaks TLS: ``distributed.scheduler.dashboard.tls``."""
    # Workers have one only if somebody asks for it.
    context = getattr(getattr(node, "http_server", None), "ssl_options", None)
    if isinstance(context, ssl.SSLContext):
        bear_with_silent_ends(context)


def _mended(arguments: dict[str, Any]) -> dict[str, Any]:
    context = arguments.get("ssl_context")
    if context is not None:
        bear_with_silent_ends(context)
    return arguments
