"""A hook whose argument has a default, which pluggy would leave out of the call."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def submit(self, script, count=1):
        return (yield from super().submit(script, count))
