"""Gadi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corral.errors import InvalidRequest
from corral.plugin import Job
from corral.plugin.values import Resources
from corral.testing import Example, SiteConformance
from corral_nci import Gadi

COSTS = "https://opus.nci.org.au/spaces/Help/pages/236880942/Job+Costs..."
CONFIG = "https://github.com/nf-core/configs/blob/master/conf/nci_gadi.config"


class TestGadi(SiteConformance):
    site = "gadi"
    site_options: ClassVar[Mapping[str, Any]] = {"storage": "gdata/ab12+scratch/ab12"}
    arguments: ClassVar[Mapping[str, Any]] = {"account": "ab12"}
    hosts = (
        "gadi-login-07",
        "gadi-login-07.gadi.nci.org.au",
        "gadi-cpu-spr-0525",
        "gadi-gpu-v100-0079.gadi.nci.org.au",
    )
    environment: ClassVar[Mapping[str, str]] = {"USER": "mary"}
    strangers = ("raijin3.nci.org.au", "gadi.example.org")
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {"storage": ("gdata/ab12+scratch/ab12", "scratch/ab12")}
    # A GPU comes with 12 CPUs; several nodes are whole.
    rounds = ("cores", "gpus", "memory")
    examples = (
        Example("normal", COSTS, {"queue": "normal", "cores": 8, "memory": "128GiB", "walltime": "5h"}),
        Example("gpuvolta", COSTS, {"gpus": 1, "cores": 12, "memory": "90GiB", "walltime": "5h"}),
        Example("large", CONFIG, {"memory": "500GiB"}),
        Example("two-nodes", COSTS, {"queue": "normal", "nodes": 2, "memory": "16GiB"}),
        Example("memory-alone", CONFIG, {"memory": "100GB"}),
    )  # fmt: skip
    golden = Path(__file__).parent / "golden"


def test_storage_is_for_the_user_to_say() -> None:
    """Jobs that do not name a file system do not see it."""
    with pytest.raises(InvalidRequest, match="needs the option 'storage'.*gdata/ab12"):
        Gadi()
    with pytest.raises(InvalidRequest, match="'storage'"):
        Gadi(storage="/g/data/ab12")


@pytest.mark.parametrize(("word", "line"), [("memory", "-l mem"), ("cores", "-l ncpus"), ("-l ncpus", "-l ncpus")])
def test_what_the_user_leaves_out_is_left_out_of_the_sums(word: str, line: str) -> None:
    """In the words of all backends, and in PBS's."""
    job = Job(resources=Resources(cores=4, memory=10**9), skip=[word])
    assert line not in " ".join(Gadi(storage="scratch/ab12").complete(job).extra_directives)
