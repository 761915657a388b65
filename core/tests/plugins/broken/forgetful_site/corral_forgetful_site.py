"""A site whose wrapper does not return what it was given."""

from __future__ import annotations

from attrs import evolve

from corral.plugin import hookimpl


class Broken:
    @hookimpl(wrapper=True)
    def prepare_job(self, job):
        job = yield
        evolve(job, account="physics")
