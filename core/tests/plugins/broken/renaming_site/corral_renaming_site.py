"""A site that calls jobs otherwise."""

from __future__ import annotations

from attrs import evolve

from corral.plugin import hookimpl


class Broken:
    @hookimpl(wrapper=True)
    def prepare_job(self, job):
        job = yield
        return evolve(job, name=f"barn-{job.name}")
