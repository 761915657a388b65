"""SDSC's Expanse, as published; read on 2026-11-29, and not tried on the machine.

- Which partitions are exclusive, what a node has, and the most that ``--mem`` takes there: the centre's user guide,
  page Job Charging (``--mem`` of 249208M, 377308M and 2055638M), as published in 2026.
- 4,096 cores a job at most, V100 GPUs: SDSC's page in the ACCESS documentation.
- The scheduler's interface ``ib0``, and that an account is named: globus-compute's ``expanse.yaml`` (2025-10-10),
  Parsl's ``parsl/configs/expanse.py`` (2026-08-06).
- ``--constraint=lustre`` for jobs that use Lustre, and the folder there: scripts of the centre's users.
- Host names: ``detect_machine.sh`` of the UFS weather model.

How long a job may run is not in what could be read: Slurm says it.
"""

from __future__ import annotations

from typing import ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption

__all__ = ["Expanse"]

_CPU = 249208 * 2**20
_GPU = 377308 * 2**20
_LARGE = 2055638 * 2**20


class Expanse(DescribedSite):
    """Parts of a node are shared; several nodes are whole."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="SDSC Expanse",
            hosts=("*.expanse.sdsc.edu",),
            sources=(
                "https://www.sdsc.edu/systems/expanse/user_guide.html",
                "https://access-ci.atlassian.net/wiki/spaces/ACCESSdocumentation/pages/467111296",
                "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/expanse.yaml",
                "https://github.com/Parsl/parsl/blob/master/parsl/configs/expanse.py",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        defaults={
            "scheduler_interface": "ib0",
            "shared_directory": "/expanse/lustre/scratch/$USER/temp_project",
        },
        required={"account": "an allocation of yours: `expanse-client user` lists them"},
        options={
            "constraint": SiteOption(
                help="what nodes must have: lustre (the default) for jobs that use that file system",
                default="lustre",
                pattern=r"[\w&|,()*\[\]-]+",
                directives=("--constraint={value}",),
            )
        },
        groups={
            "compute": {"queue": "compute", "cores": 128, "memory": _CPU},
            "gpu": {"queue": "gpu", "cores": 40, "memory": _GPU, "gpus": 4},
        },
        nodes=(
            NodeType(name="shared", queue="shared", cores=128, memory=_CPU, max_nodes=1),
            NodeType(name="compute", queue="compute", cores=128, memory=_CPU, max_nodes=32, whole=True),
            NodeType(name="large-shared", queue="large-shared", cores=128, memory=_LARGE, max_nodes=1),
            NodeType(name="gpu-shared", queue="gpu-shared", cores=40, memory=_GPU, gpus=4, max_nodes=1),
            NodeType(name="gpu", queue="gpu", cores=40, memory=_GPU, gpus=4, whole=True),
            NodeType(name="debug", queue="debug", cores=128, memory=_CPU, named_only=True),
            NodeType(name="gpu-debug", queue="gpu-debug", cores=40, memory=_GPU, gpus=4, named_only=True),
        ),
        advice=("What is charged: cores, or 2 GB of memory each, whichever are more; of whole nodes all 128 cores.",),
    )
