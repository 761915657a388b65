"""NCSA's Delta, as published; read on 2026-11-29, and not tried on the machine.

- Partitions, walltimes, charge factors, nodes, file systems as constraints, example scripts: ncsa/Delta_doc
  (2025-05-28), ``docs/source/user_guide/running_jobs.rst``, ``architecture.rst``, ``job_accounting.rst``.
- Jobs can use 5 to 10 percent less than what is installed, says the guide: nine tenths are counted on here.
- Host names: ``login.rst``, and ``cn001.delta.internal.ncsa.edu`` in ``running_jobs.rst``.

Conflicts: globus-compute (2025-10-10) has the interface ``eth6.560``, while the guide's network has been Slingshot 11
since January 2024: none is set; say ``interface=`` if workers do not reach the scheduler. Parsl binds tasks with
``--gpu-bind=closest``, which with corral's one task a node could hide GPUs from workers: ``affinity="near-gpu"`` does
it here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption

__all__ = ["Delta"]

#: Nine tenths of 256 GB, and of 2,048.
_USUAL, _LARGE = "230GB", "1843GB"


def _queue(name: str, **what: Any) -> NodeType:
    return NodeType(name=name, queue=name, max_walltime="48h", **what)


class Delta(DescribedSite):
    """Nodes are shared; GPUs are A100 unless others are named."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="NCSA Delta",
            hosts=("dt-login*", "cn[0-9]*.delta.internal.ncsa.edu", "gpu[a-z][0-9]*.delta.internal.ncsa.edu"),
            sources=(
                "https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/running_jobs.html",
                "https://docs.ncsa.illinois.edu/systems/delta/en/latest/user_guide/architecture.html",
                "https://github.com/Parsl/parsl/blob/master/parsl/configs/delta.py",
                "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/delta.yaml",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        backend_options={"gpu_option": "gpus-per-node"},
        required={"account": "a project of `accounts`, which has one for CPUs (-cpu) and another for GPUs (-gpu)"},
        options={
            "filesystems": SiteOption(
                help="those that your jobs need: scratch (the default), projects, taiga, joined by &",
                default="scratch",
                pattern=r"[a-z]+(&[a-z]+)*",
                directives=("--constraint={value}",),
            )
        },
        groups={
            "cpu": {"queue": "cpu", "cores": 128, "memory": _USUAL},
            "a100": {"queue": "gpuA100x4", "cores": 64, "memory": _USUAL, "gpus": 4},
            "a40": {"queue": "gpuA40x4", "cores": 64, "memory": _USUAL, "gpus": 4},
            "mi100": {"queue": "gpuMI100x8", "cores": 128, "memory": _LARGE, "gpus": 8},
        },
        nodes=(
            _queue("cpu", cores=128, memory=_USUAL),
            _queue("gpuA100x4", cores=64, memory=_USUAL, gpus=4),
            _queue("gpuA100x8", cores=128, memory=_LARGE, gpus=8),
            _queue("gpuA40x4", cores=64, memory=_USUAL, gpus=4, named_only=True),
            _queue("gpuH200x8", cores=96, memory=_LARGE, gpus=8, max_nodes=1, named_only=True),
            _queue("gpuMI100x8", cores=128, memory=_LARGE, gpus=8, named_only=True),
            _queue("cpu-preempt", cores=128, memory=_USUAL, named_only=True),
        ),
        advice=(
            "A GPU-hour costs 1 (A100), 0.5 (A40), 0.25 (MI100), 1.5 (eight A100) or 3 (H200).",
            "More memory than 230 GB without GPUs: queue='gpuMI100x8', says the guide.",
        ),
    )
