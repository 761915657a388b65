"""Perlmutter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from corral.testing import Example, SiteConformance

POLICY = "https://docs.nersc.gov/jobs/policy/"
RUNNING = "https://docs.nersc.gov/systems/perlmutter/running-jobs/"


class TestPerlmutter(SiteConformance):
    site = "perlmutter"
    hosts = ("login12.chn.perlmutter.nersc.gov",)
    environment: ClassVar[Mapping[str, str]] = {"NERSC_HOST": "perlmutter", "SCRATCH": "/pscratch/sd/m/mary"}
    strangers = ("dtn01.nersc.gov", "perlmutter.example.org")
    examples = (
        Example("shared-cpu", POLICY, {"cores": 2, "memory": "4GB", "walltime": "10min"}),
        Example("regular-cpu", RUNNING, {"cores": 256, "memory": "100GB", "nodes": 2, "account": "m0000"}),
        Example("regular-gpu", RUNNING, {"account": "m0000", "walltime": "5min"}, group="gpu"),
        Example("shared-gpu", RUNNING, {"gpus": 1, "cores": 32, "memory": "60GB", "account": "m0000"}),
        Example(
            "debug-gpu",
            "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/perlmutter.yaml",
            {"queue": "debug", "gpus": 4, "cores": 128, "memory": "200GB", "nodes": 2, "walltime": "10min"},
        ),
        Example("a-qos-of-ones-own", POLICY, {"memory": "500GB", "extra_directives": ["-q premium"]}),
        Example("memory-alone", POLICY, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
