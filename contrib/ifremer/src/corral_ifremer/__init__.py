"""Ifremer's Datarmor, as published; read on 2026-11-29, and not tried on the machine.

- Queues ``mpi_1`` (28 cores, 120 GB, 14 workers of 2 threads) and ``sequentiel`` (1 core, 115 GB), interface ``ib0``,
  no disk on nodes and so no spilling, workers that pause at 95 and end at 99 percent of their memory, 250 s for
  workers to connect: umr-lops/dask-hpcconfig (2025-09-01), ``dask_hpcconfig/clusters.yaml``. Its ``-m n`` is what
  corral says anyway.
- Names of the login nodes: scripts of the centre's users.

How long a job may run is not in what could be read (12 h is what dask-hpcconfig asks for), nor is how ``mpi_2`` and
others are meant: name them with ``queue=``.
"""

from __future__ import annotations

from typing import ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Datarmor"]

_MEMORY = "DASK_DISTRIBUTED__WORKER__MEMORY__"


class Datarmor(DescribedSite):
    """One core goes to ``sequentiel``, more to whole nodes."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="Ifremer Datarmor",
            hosts=("datarmor", "datarmor[0-9]*"),
            sources=("https://github.com/umr-lops/dask-hpcconfig/blob/main/dask_hpcconfig/clusters.yaml",),
            checked="2026-11-29",
        ),
        backend="pbs",
        defaults={"interface": "ib0", "death_timeout": "250s"},
        groups={"node": {"queue": "mpi_1", "cores": 28, "memory": "120GB", "processes": 14}},
        nodes=(
            NodeType(name="sequentiel", queue="sequentiel", cores=1, memory="115GB", max_nodes=1),
            NodeType(name="mpi_1", queue="mpi_1", cores=28, memory="120GB", max_nodes=1, whole=True),
        ),
        environment={
            f"{_MEMORY}TARGET": "False",
            f"{_MEMORY}SPILL": "False",
            f"{_MEMORY}PAUSE": "0.95",
            f"{_MEMORY}TERMINATE": "0.99",
        },
        advice=("Nodes have no disk: workers spill nothing, and pause when 95 percent of their memory are full.",),
    )
