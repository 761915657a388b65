"""NERSC's Perlmutter, as published; read on 2026-11-29, and not tried on the machine.

- The interface ``hsn0``, hardware threads and GPUs by node, and 120 s for a command: globus-compute's
  ``docs/endpoints/configs/perlmutter.yaml`` (2025-10-10).
- That ``debug`` is what a job gets that names no QOS, and that a user's default project pays for a job that names
  none: docs.nersc.gov/jobs/policy. Memory and processors of a node: docs.nersc.gov/beginner-guide/nodetypesfig.
- The limits of each QOS, half a node for ``shared``, and what of a node's memory jobs can use (502 of 512 GB, 246 of
  256 GB): docs.nersc.gov/jobs/policy and /systems/perlmutter/architecture, as public guides quote them in July and
  August 2026. The stored copy of the first page ends before its table.
- ``NERSC_HOST`` and names like ``*.perlmutter.*``: ESMCI/ccs_config_cesm, ``machines/config_machines.xml``
  (2026-06-29), and CESM's notes on Perlmutter.

A conflict: the same ccs_config_cesm says 6 h for ``regular`` and 2 h for ``debug``; the centre's own 48 h and 30 min
are what is used here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Perlmutter"]


def _qos(name: str, walltime: str, *, gpus: int = 0, whole: bool = True, **what: Any) -> NodeType:
    """Nodes without GPUs, or with, as a QOS has them: none of them is a queue.

    Whole nodes have all of their memory, whether it is asked for or not; NERSC's own examples do not.
    """
    return NodeType(
        name=name,
        gpus=gpus,
        max_walltime=walltime,
        whole=whole,
        directives=(f"--qos={name}", f"--constraint={'gpu' if gpus else 'cpu'}"),
        skip=frozenset({"memory"} if whole else ()),
        **what,
    )


class Perlmutter(DescribedSite):
    """A CPU here is one of two hardware threads of a core, as Slurm counts them there."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="NERSC Perlmutter",
            hosts=("*.perlmutter.nersc.gov",),
            environment={"NERSC_HOST": "perlmutter"},
            sources=(
                "https://docs.nersc.gov/jobs/policy/",
                "https://docs.nersc.gov/beginner-guide/nodetypesfig",
                "https://github.com/globus/globus-compute/blob/main/docs/endpoints/configs/perlmutter.yaml",
                "https://github.com/ESMCI/ccs_config_cesm/blob/main/machines/config_machines.xml",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        backend_options={"gpu_option": "gpus-per-node"},
        defaults={"interface": "hsn0", "shared_directory": "$SCRATCH", "command_timeout": "120s"},
        groups={
            "cpu": {"queue": "regular", "cores": 256, "memory": "502GB"},
            "gpu": {"queue": "regular", "cores": 128, "memory": "246GB", "gpus": 4},
        },
        nodes=(
            _qos("shared", "48h", cores=128, memory="251GB", max_nodes=1, whole=False),
            _qos("regular", "48h", cores=256, memory="502GB"),
            _qos("shared", "48h", cores=64, memory="123GB", gpus=2, max_nodes=1, whole=False),
            _qos("regular", "48h", cores=128, memory="246GB", gpus=4),
            _qos("debug", "30min", cores=256, memory="502GB", max_nodes=8, named_only=True),
            _qos("debug", "30min", cores=128, memory="246GB", gpus=4, max_nodes=8, named_only=True),
        ),
        advice=(
            "account= is needed only where your default project (Iris, tab Compute) shall not pay.",
            "A QOS of your own, such as preempt or premium: extra_directives=['--qos=premium']; 80 GB GPUs: "
            "extra_directives=['--constraint=gpu&hbm80g'].",
        ),
    )
