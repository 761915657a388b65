"""Casper and Derecho."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corral.testing import Example, SiteConformance
from corral_ncar import Casper, Derecho

DOCS = "https://github.com/NCAR/HPC-Docs/blob/main/docs"
DERECHO_SCRIPTS = f"{DOCS}/pbs/job-scripts/derecho-job-script-examples-content.md"
CASPER_SCRIPTS = f"{DOCS}/pbs/job-scripts/casper-job-script-examples-content.md"
GOLDEN = Path(__file__).parent / "golden"


class TestDerecho(SiteConformance):
    site = "derecho"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "UXYZ0001"}
    hosts = ("derecho6.hsn.de.hpc.ucar.edu", "dec2436.hsn.de.hpc.ucar.edu")
    environment: ClassVar[Mapping[str, str]] = {"NCAR_HOST": "derecho", "SCRATCH": "/glade/derecho/scratch/mary"}
    strangers = ("casper-login1.hpc.ucar.edu", "crhtc53.hpc.ucar.edu", "cheyenne1.cheyenne.ucar.edu")
    examples = (
        Example("main-cpu", DERECHO_SCRIPTS, {"nodes": 2}, group="cpu"),
        Example("main-gpu", DERECHO_SCRIPTS, {"nodes": 2}, group="gpu"),
        Example(
            "develop",
            "https://github.com/NCAR/ncar-jobqueue/blob/main/ncar_jobqueue/ncar-jobqueue.yaml",
            {"queue": "develop", "memory": "4GB"},
            site_options={"job_priority": "economy"},
        ),
        Example("memory-alone", f"{DOCS}/pbs/charging.md", {"memory": "100GB"}),
    )
    golden = GOLDEN / "derecho"


class TestCasper(SiteConformance):
    site = "casper"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "UXYZ0001"}
    hosts = ("casper-login1.hpc.ucar.edu", "crhtc53.hpc.ucar.edu")
    environment: ClassVar[Mapping[str, str]] = {"NCAR_HOST": "casper", "SCRATCH": "/glade/derecho/scratch/mary"}
    strangers = ("derecho6.hsn.de.hpc.ucar.edu", "casper.example.org")
    examples = (
        Example("htc", CASPER_SCRIPTS, {"memory": "10GiB", "walltime": "30min"}),
        Example("gpu", CASPER_SCRIPTS, {"nodes": 2, "cores": 4, "gpus": 4, "memory": "40GiB"}, group="v100"),
        Example("largemem", f"{DOCS}/compute-systems/casper/casper-node-types.md", {"memory": "1TiB"}),
        Example("memory-alone", f"{DOCS}/pbs/charging.md", {"memory": "100GB"}),
    )
    golden = GOLDEN / "casper"


def test_a_machines_own_project_comes_before_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the centre's qsub."""
    monkeypatch.setenv("PBS_ACCOUNT", "GENERAL")
    assert Casper().defaults["account"] == "$PBS_ACCOUNT"
    monkeypatch.setenv("PBS_ACCOUNT_CASPER", "MINE")
    assert Casper().defaults["account"] == "$PBS_ACCOUNT_CASPER"
    assert Derecho().defaults["account"] == "$PBS_ACCOUNT"
