"""A conversation that is an ordinary function."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def find_jobs(self, name):
        return []
