"""ALCF's Polaris, as published; read on 2026-11-29, and not tried on the machine.

- Queues and their limits, host names: argonne-lcf/user-guides (2026-08-19), ``docs/polaris/running-jobs/index.md``
  and ``docs/polaris/index.md``.
- That an account, a walltime and ``filesystems`` are mandatory, which filesystems there are, ``system=polaris``, that
  ``ncpus`` counts hardware threads, and what a node reports (64 of them, 527672492 kB, 4 GPUs, exclusive hosts): the
  same, ``docs/running-jobs/index.md``.
- ``ngpus=4``: globus-compute, ``docs/endpoints/configs/polaris.yaml`` (2025-10-10).

Conflicts: globus-compute has the interface ``hsn0`` and 32 CPUs, Parsl's ``parsl/configs/polaris.py`` ``bond0`` and
64. The centre counts 64 hardware threads of 32 cores; for the interface it names none, so none is set: say
``interface=`` if workers do not reach the scheduler. globus-compute still lists a filesystem ``grand``, which the
centre does not.
"""

from __future__ import annotations

from typing import ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption

__all__ = ["Polaris"]


def _queue(name: str, *, min_nodes: int, max_nodes: int, max_walltime: str, named_only: bool = False) -> NodeType:
    """All nodes are alike; what a job has of memory is not asked for where it has all."""
    return NodeType(
        name=name,
        queue=name,
        cores=64,
        memory="503GiB",
        gpus=4,
        min_nodes=min_nodes,
        max_nodes=max_nodes,
        max_walltime=max_walltime,
        whole=True,
        named_only=named_only,
        skip=frozenset({"memory"}),
    )


class Polaris(DescribedSite):
    """Jobs of 10 nodes and more go to ``prod``, smaller ones to ``preemptable``; others are yours to name."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="ALCF Polaris",
            hosts=("polaris-login-*", "*.polaris.alcf.anl.gov"),
            sources=(
                "https://docs.alcf.anl.gov/polaris/running-jobs/",
                "https://docs.alcf.anl.gov/running-jobs/",
                "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/polaris.yaml",
                "https://github.com/Parsl/parsl/blob/master/parsl/configs/polaris.py",
            ),
            checked="2026-11-29",
        ),
        backend="pbs",
        backend_options={"chunk": "system=polaris"},
        required={"account": "the project that `sbank` shows the balance of"},
        options={
            "filesystems": SiteOption(
                help="those that your jobs read or write, such as 'home:eagle' (which is the default)",
                default="home:eagle",
                pattern=r"[a-z]\w*(:[a-z]\w*)*",
                directives=("-l filesystems={value}",),
            )
        },
        groups={"node": {"cores": 64, "memory": "503GiB", "gpus": 4}},
        nodes=(
            _queue("prod", min_nodes=10, max_nodes=24, max_walltime="3h"),
            _queue("prod", min_nodes=25, max_nodes=99, max_walltime="6h"),
            _queue("prod", min_nodes=100, max_nodes=496, max_walltime="24h"),
            _queue("preemptable", min_nodes=1, max_nodes=10, max_walltime="72h"),
            _queue("debug", min_nodes=1, max_nodes=2, max_walltime="1h", named_only=True),
            _queue("debug-scaling", min_nodes=1, max_nodes=10, max_walltime="1h", named_only=True),
            _queue("capacity", min_nodes=1, max_nodes=4, max_walltime="168h", named_only=True),
        ),
        advice=(
            "Jobs of fewer than 10 nodes are preemptable: they may end at any time, and are then replaced. "
            "With nodes=10 they are for prod.",
            "A project has at most 20 jobs in preemptable and 10 running in prod; debug-scaling takes one of yours.",
        ),
    )
