"""Polaris."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corral.errors import InvalidRequest
from corral.testing import Example, SiteConformance
from corral_alcf import Polaris

SCRIPTS = "https://docs.alcf.anl.gov/running-jobs/example-job-scripts/"


class TestPolaris(SiteConformance):
    site = "polaris"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "Catalyst"}
    hosts = (
        "polaris-login-01",
        "polaris-login-04.hsn.cm.polaris.alcf.anl.gov",
        "x3006c0s13b1n0.hsn.cm.polaris.alcf.anl.gov",
    )
    strangers = ("aurora-uan-0009.hostmgmt1000.cm.aurora.alcf.anl.gov", "x3006c0s13b1n0")
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {"filesystems": ("home:eagle", "home")}
    examples = (
        Example("cpu", SCRIPTS, {"queue": "debug", "memory": "100GB", "cores": 32, "walltime": "30min"}),
        Example("gpu", SCRIPTS, {"queue": "debug", "nodes": 2, "walltime": "30min"}, group="node"),
        Example(
            "prod",
            "https://docs.alcf.anl.gov/running-jobs/",
            {"nodes": 10, "cores": 64, "memory": "400GB", "walltime": "30min"},
            site_options={"filesystems": "eagle:home"},
        ),
        Example(
            "parsl",
            "https://github.com/Parsl/parsl/blob/master/parsl/configs/polaris.py",
            {"nodes": 128, "walltime": "24h"},
            group="node",
        ),
        Example("memory-alone", "https://docs.alcf.anl.gov/polaris/running-jobs/", {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"


def test_filesystems_are_a_list_of_names() -> None:
    """qsub would say so later."""
    with pytest.raises(InvalidRequest, match="filesystems.*home:eagle"):
        Polaris(filesystems="home, eagle")
