"""Levante."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from corral.testing import Example, SiteConformance

LIMITS = "https://docs.dkrz.de/doc/levante/running-jobs/partitions-and-limits.html"


class TestLevante(SiteConformance):
    site = "levante"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "ab0123"}
    hosts = ("levante4", "levante4.lvt.dkrz.de", "l10395.lvt.dkrz.de")
    strangers = ("mistral1.dkrz.de", "levante.example.org", "l10395")
    examples = (
        Example("compute", LIMITS, {"nodes": 4, "walltime": "8h"}, group="compute"),
        Example("more-memory", LIMITS, {"memory": "400GB", "cores": 64}),
        Example("gpu", LIMITS, {"gpus": 1, "cores": 32, "memory": "100GB", "walltime": "12h"}),
        Example("interactive", LIMITS, {"queue": "interactive", "memory": "16GB"}),
        Example("memory-alone", LIMITS, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
