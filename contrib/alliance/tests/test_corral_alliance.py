"""Narval, Fir, Nibi, Rorqual and Trillium."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from corral.testing import Example, SiteConformance

WIKI = "https://docs.alliancecan.ca/wiki"
GOLDEN = Path(__file__).parent / "golden"
MINE = {"SCRATCH": "/scratch/mary", "SLURM_ACCOUNT": "def-someuser"}


class TestNarval(SiteConformance):
    site = "narval"
    environment: ClassVar[Mapping[str, str]] = {"CC_CLUSTER": "narval", **MINE}
    examples = (
        Example("serial", f"{WIKI}/Running_jobs", {"memory": "4GiB", "walltime": "15min"}),
        Example("array", f"{WIKI}/Running_jobs", {"memory": "1GiB", "walltime": "15min", "account": "def-prof1"}),
        Example("gpu", f"{WIKI}/Narval", {"gpus": 1, "cores": 12, "memory": "124GiB"}),
        Example("all-of-a-node", f"{WIKI}/Narval", group="cpu"),
    )
    golden = GOLDEN / "narval"


class TestFir(SiteConformance):
    site = "fir"
    environment: ClassVar[Mapping[str, str]] = {"CC_CLUSTER": "fir", **MINE}
    examples = (
        Example("gpus", f"{WIKI}/Fir", {"gpus": 2, "cores": 12, "memory": "100GiB"}),
        Example("memory-alone", f"{WIKI}/Fir", {"memory": "100GB"}),
    )
    golden = GOLDEN / "fir"


class TestNibi(SiteConformance):
    site = "nibi"
    environment: ClassVar[Mapping[str, str]] = {"CC_CLUSTER": "nibi", **MINE}
    examples = (
        Example("gpus", f"{WIKI}/Nibi", {"gpus": 2, "cores": 28, "memory": "500GiB"}),
        Example("large-memory", f"{WIKI}/Nibi", {"memory": "2TB"}),
    )
    golden = GOLDEN / "nibi"


class TestRorqual(SiteConformance):
    site = "rorqual"
    environment: ClassVar[Mapping[str, str]] = {"CC_CLUSTER": "rorqual", **MINE}
    examples = (
        Example("gpus", f"{WIKI}/Rorqual", group="gpu"),
        Example("memory-alone", f"{WIKI}/Rorqual", {"memory": "100GB"}),
    )
    golden = GOLDEN / "rorqual"


class TestTrillium(SiteConformance):
    site = "trillium"
    hosts = ("tri-login03", "trig-login01")
    environment: ClassVar[Mapping[str, str]] = {"CC_CLUSTER": "trillium", **MINE}
    strangers = ("nia-login01", "trillium.example.org")
    examples = (
        Example("openmp", f"{WIKI}/Trillium_Quickstart", {"cores": 192, "memory": "100GB"}),
        Example("mpi", f"{WIKI}/Trillium_Quickstart", {"nodes": 2}, group="cpu"),
        Example("one-gpu", f"{WIKI}/Trillium_Quickstart", {"gpus": 1, "memory": "100GB"}),
        Example("gpus", f"{WIKI}/Trillium_Quickstart", {"nodes": 2}, group="gpu"),
        Example("memory-alone", f"{WIKI}/Trillium_Quickstart", {"memory": "100GB"}),
    )
    golden = GOLDEN / "trillium"
