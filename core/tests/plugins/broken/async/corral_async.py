"""A hook that does its own I/O."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    async def detect(self):
        return None
