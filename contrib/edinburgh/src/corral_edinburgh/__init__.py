"""Edinburgh's Eddie, as published; read on 2026-11-29, and not tried on the machine.

- The parallel environment ``sharedmem`` above one core, 64 cores, 1024 GB and 240 h at most: nf-core/configs
  (2026-08-18), ``conf/eddie.config``.
- ``h_vmem``, counted by slot: the same, ``conf/pipeline/viralrecon/eddie.config`` and ``docs/eddie.md``.
- Names of the login nodes: scripts of the university's users.

A conflict: newer scripts ask for ``h_rss`` instead of ``h_vmem``. ``h_vmem`` limits addresses as well as memory, and
Python with many threads has many: nf-core adds 4 GB for that. ``backend_options={"memory_resource": "h_rss"}`` asks
the other way.

No GPUs and no jobs of several nodes are in what could be read. Neither is an interface, nor whether a project
(``account=``) is needed: Grid Engine says so.
"""

from __future__ import annotations

from typing import ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Eddie"]


class Eddie(DescribedSite):
    """Shared nodes, without queues to name."""

    description: ClassVar[SiteDescription] = SiteDescription(
        facts=SiteFacts(
            title="Edinburgh Eddie",
            hosts=("*.eddie.ecdf.ed.ac.uk", "eddie.ecdf.ed.ac.uk"),
            sources=(
                "https://github.com/nf-core/configs/blob/master/conf/eddie.config",
                "https://github.com/nf-core/configs/blob/master/conf/pipeline/viralrecon/eddie.config",
                "https://github.com/nf-core/configs/blob/master/docs/eddie.md",
            ),
            checked="2026-11-29",
        ),
        backend="sge",
        backend_options={"parallel_environment": "sharedmem", "memory_resource": "h_vmem"},
        nodes=(NodeType(name="sharedmem", cores=64, memory="1024GiB", max_walltime="240h", max_nodes=1),),
        advice=("If jobs end for want of memory that they do not use: backend_options={'memory_resource': 'h_rss'}.",),
    )
