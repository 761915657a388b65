"""Eddie."""

from __future__ import annotations

from pathlib import Path

from corral.testing import Example, SiteConformance

EDDIE = "https://github.com/nf-core/configs/blob/master/conf/eddie.config"


class TestEddie(SiteConformance):
    site = "eddie"
    hosts = ("login01.eddie.ecdf.ed.ac.uk", "eddie.ecdf.ed.ac.uk")
    strangers = ("git.ecdf.ed.ac.uk", "eddie.example.org")
    examples = (
        Example("one-core", "https://github.com/nf-core/configs/blob/master/docs/eddie.md", {"memory": "8GiB"}),
        Example("sharedmem", EDDIE, {"cores": 8, "memory": "64GiB", "walltime": "240h"}),
        Example("memory-alone", EDDIE, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
