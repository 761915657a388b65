"""lxplus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from corral.plugin import Command, Completed, discovery
from corral.plugin.values import Script
from corral.testing import Example, SiteConformance
from corral_cern import Lxplus

OF_DASK = "https://github.com/cernops/dask-lxplus/blob/main/README.md"


class TestLxplus(SiteConformance):
    site = "lxplus"
    hosts = ("lxplus9p27.cern.ch",)
    strangers = ("aiadm09.cern.ch", "lxplus.example.org")
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {
        "image": ("/cvmfs/unpacked.cern.ch/mine:latest", "/cvmfs/unpacked.cern.ch/other:latest")
    }
    examples = (
        Example("longlunch", OF_DASK, {"memory": "3000MB", "queue": "longlunch"}),
        Example(
            "in-an-image",
            "https://github.com/cernops/dask-lxplus/blob/main/dask_lxplus/jobqueue-cern.yaml",
            {},
            site_options={"image": "/cvmfs/unpacked.cern.ch/mine:latest"},
        ),
        Example("spooled", "https://batchdocs.web.cern.ch/local/spool.html", {}, site_options={"spool": "yes"}),
        Example("four-cores", "https://batchdocs.web.cern.ch/local/submit.html", {"cores": 4, "memory": "12GiB"}),
    )
    golden = Path(__file__).parent / "golden"


def submission(site: Lxplus) -> tuple[str, ...]:
    """The words of the command that submits."""
    manager = discovery.load(site.backend, options=site.backend_options, plugins=[site])
    conversation = manager.hook.submit(script=Script(name="a", body="true"), count=2)
    command: Command = next(conversation)
    while command.argv[0] != "condor_submit":
        command = conversation.send(Completed(stdout=""))
    return command.argv


def test_schedds_without_shared_files_are_spooled_to() -> None:
    """And others are not: jobs' logs would stay there."""
    assert submission(Lxplus(spool="yes"))[:2] == ("condor_submit", "-spool")
    assert "-spool" not in submission(Lxplus())
