"""A site that answers instead of wrapping."""

from __future__ import annotations

from corral.plugin import hookimpl


class Broken:
    @hookimpl
    def prepare_job(self, job):
        return job
