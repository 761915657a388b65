"""Delta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from corral.testing import Example, SiteConformance

RUNNING = "https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/running_jobs.html"


class TestDelta(SiteConformance):
    site = "delta"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "abcd-delta-cpu"}
    hosts = (
        "dt-login03",
        "dt-login03.delta.ncsa.illinois.edu",
        "cn001.delta.internal.ncsa.edu",
        "gpub003.delta.internal.ncsa.edu",
    )
    strangers = ("dtai-login.delta.ncsa.illinois.edu", "gh001.hsn.cm.delta.internal.ncsa.edu", "delta.example.org")
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {"filesystems": ("scratch", "scratch&projects")}
    examples = (
        Example("serial", RUNNING, {"cores": 4, "memory": "16GiB", "walltime": "10min"}),
        Example("mpi", RUNNING, {"nodes": 2, "cores": 64, "memory": "16GiB", "walltime": "10min"}),
        Example("four-gpus", RUNNING, {"walltime": "4h", "account": "abcd-delta-gpu"}, group="a100"),
        Example(
            "one-gpu",
            RUNNING,
            {"queue": "gpuA40x4", "gpus": 1, "cores": 16, "memory": "50GiB", "account": "abcd-delta-gpu"},
        ),
        Example("memory-alone", RUNNING, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
