"""TACC's Stampede3 and Frontera, as published; read on 2026-11-29, and not tried on the machines.

- Queues, nodes, and which options sbatch does not take (``--mem`` on both, ``--array`` on Frontera, ``--gres`` on
  Stampede3, ``--export`` better not): TACC/TACC-Docs (2026-08-12), ``docs/hpc/stampede3.md``,
  ``docs/hpc/frontera/running.md``, ``docs/hpc/frontera/system.md``.
- The scheduler's interface: globus-compute, ``docs/endpoints/configs/stampede3.yaml`` and ``frontera.yaml``
  (2025-10-10).
- Host names: the user guides. ``TACC_SYSTEM=frontera``: TACC's own scripts that build software, as published; none
  was found that has Stampede3 in it.

Jobs have whole nodes, so what they have of memory is the node's; where a guide says 192 GB, that many times 10^9 bytes
are counted on, which leaves the rest to the system. A guide's table of Frontera's ``normal`` begins with 3 nodes,
``qlimits`` beside it with 1: the table is used. That the RTX nodes' two processors have eight cores each is Intel's
word.
"""

from __future__ import annotations

from typing import Any, ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Frontera", "Stampede3"]

#: Refused, or better avoided.
_SKIP = frozenset({"memory", "gpus", "export"})


def _queue(name: str, *, max_walltime: str = "48h", **what: Any) -> NodeType:
    return NodeType(name=name, queue=name, max_walltime=max_walltime, whole=True, **what)


class Stampede3(DescribedSite):
    """Queues in the order of what a node-hour costs."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="TACC Stampede3",
            hosts=("*.stampede3.tacc.utexas.edu",),
            sources=(
                "https://docs.tacc.utexas.edu/hpc/stampede3/",
                "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/stampede3.yaml",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        defaults={"scheduler_interface": "ibp10s0", "shared_directory": "$SCRATCH", "command_timeout": "60s"},
        groups={
            "skx": {"queue": "skx", "cores": 48, "memory": "192GB"},
            "icx": {"queue": "icx", "cores": 80, "memory": "256GB"},
            "spr": {"queue": "spr", "cores": 112, "memory": "128GB"},
            "h100": {"queue": "h100", "cores": 96, "memory": "1TB", "gpus": 4},
        },
        nodes=(
            _queue("skx", cores=48, memory="192GB", max_nodes=256),
            _queue("icx", cores=80, memory="256GB", max_nodes=32),
            _queue("spr", cores=112, memory="128GB", max_nodes=32),
            _queue("nvdimm", cores=80, memory="4TB", max_nodes=1),
            _queue("h100", cores=96, memory="1TB", gpus=4, max_nodes=4),
            _queue("pvc", cores=96, memory="1TB", gpus=4, max_nodes=4, named_only=True),
            _queue("skx-dev", cores=48, memory="192GB", max_nodes=16, max_walltime="2h", named_only=True),
        ),
        skip=_SKIP,
        advice=(
            "A node-hour costs 1 SU (skx), 1.5 (icx), 2 (spr) or 4 (h100, nvdimm).",
            "You may have 60 jobs in skx, 20 in icx and 36 in spr; jobs of several nodes get further.",
        ),
    )


class Frontera(DescribedSite):
    """No arrays: each job is a submission of its own."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="TACC Frontera",
            hosts=("*.frontera.tacc.utexas.edu",),
            environment={"TACC_SYSTEM": "frontera"},
            sources=(
                "https://docs.tacc.utexas.edu/hpc/frontera/",
                "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/frontera.yaml",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        backend_options={"arrays": False},
        defaults={"scheduler_interface": "ib0", "shared_directory": "$SCRATCH", "command_timeout": "60s"},
        groups={
            "clx": {"cores": 56, "memory": "192GB"},
            "rtx": {"queue": "rtx", "cores": 16, "memory": "128GB", "gpus": 4},
        },
        nodes=(
            _queue("small", cores=56, memory="192GB", max_nodes=2),
            _queue("normal", cores=56, memory="192GB", min_nodes=3, max_nodes=512),
            _queue("nvdimm", cores=112, memory="2.1TB", max_nodes=4),
            _queue("rtx", cores=16, memory="128GB", gpus=4, max_nodes=16),
            _queue("development", cores=56, memory="192GB", max_nodes=40, max_walltime="2h", named_only=True),
            _queue("flex", cores=56, memory="192GB", max_nodes=128, named_only=True),
            _queue("rtx-dev", cores=16, memory="128GB", gpus=4, max_nodes=2, max_walltime="2h", named_only=True),
        ),
        skip=_SKIP,
        advice=("You may have 80 jobs in small and 200 in normal; jobs of several nodes get further.",),
    )
