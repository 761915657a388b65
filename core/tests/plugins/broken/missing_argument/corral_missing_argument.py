"""A hook without one of its arguments."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def submit(self, script):
        return (yield from super().submit(script, 1))
