"""A hook that does not return its answer."""

from __future__ import annotations

from attrs import evolve

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def prepare_job(self, job):
        evolve(job, queue="barn")
