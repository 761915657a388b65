"""Expanse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from corral.testing import Example, SiteConformance

GUIDE = "https://www.sdsc.edu/systems/expanse/user_guide.html"


class TestExpanse(SiteConformance):
    site = "expanse"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "abc123"}
    hosts = ("login01.expanse.sdsc.edu",)
    environment: ClassVar[Mapping[str, str]] = {"USER": "mary"}
    strangers = ("login.comet.sdsc.edu", "expanse.example.org")
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {"constraint": ("lustre", "lustre&nvme")}
    examples = (
        Example(
            "compute",
            "https://github.com/Parsl/parsl/blob/master/parsl/configs/expanse.py",
            {"nodes": 2},
            group="compute",
        ),
        Example("gpu-shared", GUIDE, {"gpus": 1, "cores": 10, "memory": "92GB"}),
        Example("gpu", GUIDE, group="gpu"),
        Example("large-shared", GUIDE, {"memory": "1TB"}),
        Example("memory-alone", GUIDE, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
