"""A method that was meant as a hook."""

from __future__ import annotations

from corral_acme import Acme


class Broken(Acme):
    def cancel(self, job_ids):
        yield from super().cancel(job_ids)
