"""Stampede3 and Frontera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from corral.testing import Example, SiteConformance

STAMPEDE3 = "https://docs.tacc.utexas.edu/hpc/stampede3/"
FRONTERA = "https://docs.tacc.utexas.edu/hpc/frontera/"
CONFIGS = "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs"
GOLDEN = Path(__file__).parent / "golden"


class TestStampede3(SiteConformance):
    site = "stampede3"
    hosts = ("login2.stampede3.tacc.utexas.edu", "c449-001.stampede3.tacc.utexas.edu")
    environment: ClassVar[Mapping[str, str]] = {"SCRATCH": "/scratch/01234/mary"}
    strangers = ("login2.frontera.tacc.utexas.edu", "login1.ls6.tacc.utexas.edu", "stampede3.example.org")
    examples = (
        Example("spr", STAMPEDE3, {"nodes": 4, "walltime": "90min", "account": "myproject"}, group="spr"),
        Example("skx-dev", f"{CONFIGS}/stampede3.yaml", {"queue": "skx-dev", "memory": "100GB", "walltime": "30min"}),
        Example("memory-alone", STAMPEDE3, {"memory": "100GB"}),
        Example("large-memory", STAMPEDE3, {"memory": "1TB"}),
        Example("one-gpu", STAMPEDE3, {"memory": "100GB", "gpus": 1}),
    )
    golden = GOLDEN / "stampede3"


class TestFrontera(SiteConformance):
    site = "frontera"
    hosts = ("login2.frontera.tacc.utexas.edu", "c401-064.frontera.tacc.utexas.edu")
    environment: ClassVar[Mapping[str, str]] = {"TACC_SYSTEM": "frontera", "SCRATCH": "/scratch2/01234/mary"}
    strangers = ("login2.stampede3.tacc.utexas.edu", "frontera.example.org")
    examples = (
        Example("serial", FRONTERA, {"memory": "4GB", "walltime": "90min", "account": "myproject"}),
        Example("normal", FRONTERA, {"nodes": 4, "walltime": "90min", "account": "myproject"}, group="clx"),
        Example(
            "development",
            f"{CONFIGS}/frontera.yaml",
            {"queue": "development", "nodes": 2, "memory": "100GB", "walltime": "30min"},
        ),
        Example("rtx", FRONTERA, group="rtx"),
    )
    golden = GOLDEN / "frontera"
