"""A machine of the Summit kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from corral.testing import Example, SiteConformance

GUIDE = "https://docs.olcf.ornl.gov/systems/summit_user_guide.html"


class TestSummit(SiteConformance):
    site = "summit"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "ABC123"}
    environment: ClassVar[Mapping[str, str]] = {"LMOD_SYSTEM_NAME": "summit"}
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {"alloc_flags": ("smt4", "gpumps smt1")}
    examples = (
        Example("gpumps", GUIDE, {"nodes": 2, "walltime": "2h"}, group="node", site_options={"alloc_flags": "gpumps"}),
        Example(
            "parsl",
            "https://github.com/Parsl/parsl/blob/master/parsl/configs/summit.py",
            {"nodes": 2, "memory": "100GB", "walltime": "10min"},
        ),
        Example("memory-alone", GUIDE, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
