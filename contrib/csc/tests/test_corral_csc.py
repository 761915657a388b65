"""LUMI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from corral.testing import Example, SiteConformance

DOCS = "https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs"


class TestLumi(SiteConformance):
    site = "lumi"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "project_462000001"}
    hosts = ("lumi-uan03.csc.fi",)
    strangers = ("puhti-login11.csc.fi", "mahti-login12.csc.fi", "uan01")
    examples = (
        Example("small", f"{DOCS}/lumic-job/", {"cores": 128, "memory": "200GB", "walltime": "12h"}),
        Example("standard", f"{DOCS}/lumic-job/", {"nodes": 2, "walltime": "1-12:00:00"}, group="c"),
        Example("standard-g", f"{DOCS}/lumig-job/", {"nodes": 2, "walltime": "1-12:00:00"}, group="g"),
        Example("one-gcd", f"{DOCS}/partitions/", {"gpus": 1, "cores": 7, "memory": "60GB"}),
        Example("large-memory", f"{DOCS}/partitions/", {"memory": "2TB"}),
        Example("memory-alone", f"{DOCS}/partitions/", {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
