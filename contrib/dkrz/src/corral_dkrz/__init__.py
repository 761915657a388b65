"""DKRZ's Levante, as published; read on 2026-11-29, and not tried on the machine.

- Partitions, their walltimes, which of them are exclusive, ``--mem=0`` for all that a node has, features by which
  memory is chosen (``256G``, ``512G``, ``1024G``), 80 and 40 GB GPUs: docs.dkrz.de,
  levante/running-jobs/partitions-and-limits. The stored copies of that page end before its table of limits: how many
  nodes or cores a job may have is not known here, and Slurm says it.
- 128 cores: two EPYC 7763 of a node, the same page.
- ``levante*`` for login nodes, ``*.lvt.dkrz.de`` for all: scripts of extpar and ICON, as published.

What a node has of memory is counted on as that many times 10^9 bytes. An interface is not published: none is set.
"""

from __future__ import annotations

from typing import Any, ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Levante"]

_ALL_MEMORY = "--mem=0"


def _compute(name: str, memory: str, *directives: str) -> NodeType:
    return NodeType(
        name=name,
        queue="compute",
        cores=128,
        memory=memory,
        max_walltime="8h",
        whole=True,
        directives=(_ALL_MEMORY, *directives),
    )


def _shared(name: str, walltime: str, **what: Any) -> NodeType:
    return NodeType(name=name, queue=name, cores=128, max_walltime=walltime, **what)


class Levante(DescribedSite):
    """Jobs of one node go to ``shared``, others to whole nodes of ``compute``."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="DKRZ Levante",
            hosts=("levante[0-9]*", "*.lvt.dkrz.de"),
            sources=("https://docs.dkrz.de/doc/levante/running-jobs/partitions-and-limits.html",),
            checked="2026-11-29",
        ),
        backend="slurm",
        required={"account": "a project of yours, such as ab0123: luv.dkrz.de lists them"},
        groups={
            "compute": {"queue": "compute", "cores": 128, "memory": "256GB"},
            "gpu": {"queue": "gpu", "cores": 128, "memory": "512GB", "gpus": 4},
        },
        nodes=(
            _shared("shared", "7d", memory="256GB", max_nodes=1),
            _compute("compute", "256GB"),
            _compute("compute-512G", "512GB", "--constraint=512G"),
            _compute("compute-1024G", "1024GB", "--constraint=1024G"),
            _shared("gpu", "12h", memory="512GB", gpus=4),
            _shared("interactive", "12h", memory="512GB", named_only=True),
        ),
        advice=(
            "compute charges whole nodes and ends jobs after 8 h; queue='compute' also for parts of a node.",
            "GPUs of 80 GB: extra_directives=['--constraint=a100_80'].",
        ),
    )
