"""LUMI, which CSC hosts, as published; read on 2026-11-29, and not tried on the machine.

- Partitions and their limits, memory that jobs can use, 56 of 64 cores on LUMI-G, ``/tmp`` in memory, example
  scripts: Lumi-supercomputer/lumi-userguide (stored copy of 2024-10-15),
  ``docs/runjobs/scheduled-jobs/partitions.md``, ``lumic-job.md``, ``lumig-job.md``, ``batch-job.md``.
- Nodes and names of login nodes: the same, ``docs/hardware/lumic.md``, ``lumig.md``, ``lumid.md``,
  ``docs/firststeps/loggingin.md``. ``lumi-uan01.csc.fi`` is how a login node is called from outside; what it calls
  itself is not published. If it is not recognised, say ``site="lumi"``.

LUMI-C and LUMI-G share their login nodes and one Slurm, so they are one site; GPUs decide. Each of the eight GPUs of a
node is half of an MI250X (a GCD); Slurm sets ROCR_VISIBLE_DEVICES. What jobs can use of the larger nodes is not
published: what is called 512 GiB there is counted on as 512 * 10^9 bytes, and so on. Nodes have no disk, so workers
spill nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Lumi"]

#: As the centre recommends for whole nodes, in place of an amount.
_ALL_MEMORY = ("--mem=0",)


def _lumi_c(name: str, walltime: str, *, memory: str = "224GB", **what: Any) -> NodeType:
    """A partition of LUMI-C."""
    return NodeType(name=name, queue=name, cores=128, memory=memory, max_walltime=walltime, **what)


def _lumi_g(name: str, walltime: str, **what: Any) -> NodeType:
    """A partition of LUMI-G."""
    return NodeType(name=name, queue=name, cores=56, memory="512GB", gpus=8, max_walltime=walltime, **what)


class Lumi(DescribedSite):
    """Parts of nodes go to ``small`` and ``small-g``, more than four nodes to ``standard`` and ``standard-g``."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="CSC LUMI",
            hosts=("lumi-uan*.csc.fi",),
            sources=(
                "https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/partitions/",
                "https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/lumic-job/",
                "https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/lumig-job/",
                "https://docs.lumi-supercomputer.eu/hardware/",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        backend_options={"gpu_option": "gpus-per-node"},
        required={"account": "your project, such as project_462000001; `lumi-workspaces` lists yours"},
        groups={
            "c": {"queue": "standard", "cores": 128, "memory": "224GB"},
            "g": {"queue": "standard-g", "cores": 56, "memory": "512GB", "gpus": 8},
        },
        nodes=(
            _lumi_c("small", "3d", memory="1024GB", max_nodes=4),
            _lumi_c("standard", "2d", max_nodes=512, whole=True, directives=_ALL_MEMORY),
            _lumi_c("largemem", "1d", memory="4096GB", max_nodes=1),
            _lumi_g("small-g", "3d", max_nodes=4),
            _lumi_g("standard-g", "2d", max_nodes=1024, whole=True, directives=_ALL_MEMORY),
            _lumi_c("debug", "30min", max_nodes=4, named_only=True),
            _lumi_g("dev-g", "3h", max_nodes=32, named_only=True),
        ),
        environment={
            "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
            "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
        },
        advice=(
            "Nodes have no disk and /tmp is in memory: workers spill nothing. A project's folder: "
            "shared_directory='/scratch/project_462000001'.",
            "More than 2 GB a core are charged as more cores.",
        ),
    )
