"""A backend that must be told its server."""

from __future__ import annotations

from corral.plugin import InvalidRequest


def picky(server: str) -> object:
    raise InvalidRequest("backend_options", f"there is no server {server!r}; pbs1 and pbs2 are")
