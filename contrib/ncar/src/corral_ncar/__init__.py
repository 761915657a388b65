"""NCAR's Casper and Derecho, as published; read on 2026-11-29, and not tried on the machines.

- Queues, their limits, the memory of a node, and the advice always to ask for all 128 cores of Derecho's exclusive
  nodes, which are charged in full anyway: NCAR/HPC-Docs (2026-05-19), ``docs/pbs/charging.md``.
- Casper's nodes: the same, ``docs/compute-systems/casper/casper-node-types.md``. Memory there is PBS's GB, of 2^30
  bytes.
- Variables (``NCAR_HOST``, ``PBS_ACCOUNT``, ``PBS_ACCOUNT_DERECHO``, ``SCRATCH``) and that ``TMPDIR`` is small and
  shared: ``docs/pbs/job-scripts/index.md``, ``docs/pbs/storing-temporary-files.md``,
  ``docs/environment-and-software/user-environment/customizing.md``.
- Interfaces, folders and host names: NCAR/ncar-jobqueue (2025-05-07), ``ncar-jobqueue.yaml`` and ``util.py``. Its
  ``-r n`` is left out: PBS takes no arrays that may not be rerun.

Conflicts: ncar-jobqueue sends Derecho's jobs to ``develop``, with 4 GB and ``economy`` priority; the centre means that
queue for development, and it is taken here only by name. ESMCI/ccs_config_cesm has 480 GB for Derecho's GPU nodes and
690 GB for Casper's nodes, the centre 487 and 732. An older page of the centre's ends ``preempt`` after 24 h, the
present one after 100.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import evolve

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption

__all__ = ["Casper", "Derecho"]

_SOURCES = (
    "https://github.com/NCAR/HPC-Docs/blob/main/docs/pbs/charging.md",
    "https://github.com/NCAR/HPC-Docs/blob/main/docs/compute-systems/casper/casper-node-types.md",
    "https://github.com/NCAR/ncar-jobqueue/blob/main/ncar_jobqueue/ncar-jobqueue.yaml",
    "https://github.com/NCAR/ncar-jobqueue/blob/main/ncar_jobqueue/util.py",
)

_ACCOUNT = "a project code, such as `gladequota` lists; or set PBS_ACCOUNT"


def _queue(name: str, walltime: str, *, cpu_nodes: int, gpu_nodes: int, **what: Any) -> tuple[NodeType, NodeType]:
    """Derecho's nodes without GPUs, and with."""
    cpu = NodeType(
        name=name, queue=name, cores=128, memory="235GiB", max_walltime=walltime, max_nodes=cpu_nodes, **what
    )
    return cpu, evolve(cpu, cores=64, memory="487GiB", gpus=4, max_nodes=gpu_nodes)


class _Ncar(DescribedSite):
    @property
    def defaults(self) -> Mapping[str, Any]:
        """The centre's qsub reads a machine's own variable before the general one."""
        machine = f"PBS_ACCOUNT_{self.facts.environment['NCAR_HOST'].upper()}"
        return {**super().defaults, "account": f"${machine if os.environ.get(machine) else 'PBS_ACCOUNT'}"}


class Derecho(_Ncar):
    """Whole nodes, as the centre advises; ``queue="develop"`` shares them."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="NCAR Derecho",
            hosts=("derecho*.hsn.de.hpc.ucar.edu", "dec*.hsn.de.hpc.ucar.edu"),
            environment={"NCAR_HOST": "derecho"},
            sources=_SOURCES,
            checked="2026-11-29",
        ),
        backend="pbs",
        defaults={
            "interface": "hsn0",
            "shared_directory": "$SCRATCH",
            "local_directory": "/glade/derecho/scratch/$USER/dask",
        },
        required={"account": _ACCOUNT},
        options={
            "job_priority": SiteOption(
                help="premium costs 1.5 times as much as regular (the default), economy 0.7 times",
                choices=("premium", "regular", "economy"),
                directives=("-l job_priority={value}",),
            )
        },
        groups={
            "cpu": {"queue": "main", "cores": 128, "memory": "235GiB"},
            "gpu": {"queue": "main", "cores": 64, "memory": "487GiB", "gpus": 4},
        },
        nodes=(
            *_queue("main", "12h", cpu_nodes=2488, gpu_nodes=82, whole=True),
            # 256 cores or 8 GPUs at once.
            *_queue("develop", "6h", cpu_nodes=2, gpu_nodes=2, named_only=True),
            *_queue("preempt", "100h", cpu_nodes=2488, gpu_nodes=82, whole=True, named_only=True),
        ),
        advice=("Derecho charges whole nodes of 128 cores; the centre sends Dask's workers to Casper's shared nodes.",),
    )


class Casper(_Ncar):
    """Shared nodes of many kinds behind one queue: PBS finds those that fit."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="NCAR Casper",
            hosts=("casper*.hpc.ucar.edu", "crhtc*.hpc.ucar.edu"),
            environment={"NCAR_HOST": "casper"},
            sources=_SOURCES,
            checked="2026-11-29",
        ),
        backend="pbs",
        defaults={
            "interface": "ext",
            "shared_directory": "$SCRATCH",
            "local_directory": "/glade/derecho/scratch/$USER/dask",
        },
        required={"account": _ACCOUNT},
        groups={
            "v100": {"cores": 8, "memory": "80GiB", "gpus": 1, "backend_options": {"chunk": "gpu_type=v100"}},
            "a100": {"cores": 8, "memory": "80GiB", "gpus": 1, "backend_options": {"chunk": "gpu_type=a100"}},
            "h100": {"cores": 8, "memory": "80GiB", "gpus": 1, "backend_options": {"chunk": "gpu_type=h100"}},
            "mi300a": {"cores": 96, "memory": "470GiB", "gpus": 4, "backend_options": {"chunk": "gpu_type=mi300a"}},
        },
        nodes=(
            NodeType(name="htc", queue="casper", cores=62, memory="732GiB", max_walltime="24h"),
            NodeType(name="largemem", queue="casper", cores=62, memory="1525GiB", max_walltime="24h", max_nodes=1),
            NodeType(name="v100_4way", queue="casper", cores=36, memory="768GiB", gpus=4, max_walltime="24h"),
            NodeType(name="v100_8way", queue="casper", cores=36, memory="1152GiB", gpus=8, max_walltime="24h"),
            NodeType(name="a100_80gb", queue="casper", cores=128, memory="992GiB", gpus=4, max_walltime="24h"),
        ),
        advice=(
            "All of your jobs together have at most 720 CPUs and 7200 GB of the shared nodes.",
            "Ready-made groups choose a kind of GPU; so does a group's backend_options={'chunk': 'gpu_type=a100'}.",
        ),
    )
