"""A hook that two methods answer."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl(specname="detect")
    def detect_differently(self):
        return (yield from super().detect())
