"""A hook that does not exist."""

from __future__ import annotations

from corral.plugin import hookimpl
from corral_acme import Acme


class Broken(Acme):
    @hookimpl
    def pol_status(self, job_ids):
        yield from super().poll_status(job_ids)
