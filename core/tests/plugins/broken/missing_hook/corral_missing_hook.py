"""A backend without most of its hooks."""

from __future__ import annotations

from corral.plugin import hookimpl


class Broken:
    @hookimpl
    def render_script(self, job):
        return None

    @hookimpl
    def detect(self):
        return None
        yield
