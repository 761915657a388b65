"""A pure hook that is a generator."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def launch_command(self, allocation, command):
        yield list(command)
