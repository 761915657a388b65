"""A hook with an argument that nobody fills."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def cancel(self, job_ids, jobids):
        yield from super().cancel(job_ids)
