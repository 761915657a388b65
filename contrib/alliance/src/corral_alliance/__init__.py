"""The clusters of the Digital Research Alliance of Canada, as published; read on 2026-11-29, not tried on them.

- Nodes, GPU names, job lengths, at most 1000 jobs, accounts, and not to ask squeue often: docs.alliancecan.ca, pages
  Narval, Fir, Nibi, Rorqual, Trillium, Trillium Quickstart and Running jobs, in the copy
  ualberta-rcg/ragflow-wiki-data (2026-05-17).
- ``CC_CLUSTER``, ``SLURM_ACCOUNT`` and a minute between queries: nf-core/configs (2026-08-18),
  ``conf/alliance_canada.config``.

Conflicts: nf-core has 249 GB for Narval and 750 GB for Nibi, the wiki 250 GB and 748 GB; the wiki's are used, in the
units of Slurm (M is 2^20). nf-core names an account always; the wiki says that Slurm finds it for members of one
project, so it is not required here. nf-core ends Trillium's jobs after 168 h, the wiki after 24 h.
"""

from __future__ import annotations

from typing import Any, ClassVar

from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts

__all__ = ["Fir", "Narval", "Nibi", "Rorqual", "Trillium"]

_MEBI = 2**20
#: Nodes of Trillium have no disk.
_NO_SPILLING = {
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
}


def _cluster(name: str, *nodes: NodeType, gpu: str | None, page: str = "", **more: Any) -> SiteDescription:
    """What all of them have in common."""
    wiki = "https://docs.alliancecan.ca/wiki"
    defaults = {
        "account": "$SLURM_ACCOUNT",
        "shared_directory": "$SCRATCH",
        "local_directory": "$SLURM_TMPDIR",
        "polling_interval": "120s",
    }
    return SiteDescription(
        facts=SiteFacts(
            title=f"Alliance Canada {name.capitalize()}",
            environment={"CC_CLUSTER": name},
            hosts=more.pop("hosts", ()),
            sources=(
                f"{wiki}/{page or name.capitalize()}",
                f"{wiki}/Running_jobs",
                "https://github.com/nf-core/configs/blob/master/conf/alliance_canada.config",
            ),
            checked="2026-11-29",
        ),
        backend="slurm",
        backend_options={"gpu_option": "gpus-per-node", "gpu_type": gpu},
        defaults=defaults,
        groups={node.name: _all_of(node) for node in nodes if node.name in ("cpu", "gpu")},
        nodes=nodes,
        advice=(
            "account= is needed only by members of several projects; SLURM_ACCOUNT is taken if it is set.",
            "A job shall last an hour at least. At most 1000 may run or wait at once.",
        ),
        **more,
    )


def _node(name: str, cores: int, megabytes: int, gpus: int = 0, *, max_walltime: str = "7d", **more: Any) -> NodeType:
    """There are no queues to name: Slurm finds one."""
    return NodeType(name=name, cores=cores, memory=megabytes * _MEBI, gpus=gpus, max_walltime=max_walltime, **more)


def _all_of(node: NodeType) -> dict[str, Any]:
    found = {"queue": node.name, "cores": node.cores, "memory": node.memory, "gpus": node.gpus}
    return {name: value for name, value in found.items() if value}


class Narval(DescribedSite):
    """A100 of 40 GB."""

    description: ClassVar[SiteDescription] = _cluster(
        "narval",
        _node("cpu", 64, 256_000),
        _node("large", 64, 2_057_500),
        _node("largest", 64, 4_096_000),
        _node("gpu", 48, 510_000, 4),
        gpu="a100",
    )


class Fir(DescribedSite):
    """H100 of 80 GB."""

    description: ClassVar[SiteDescription] = _cluster(
        "fir",
        _node("cpu", 192, 768_000),
        _node("large", 192, 6_144_000),
        _node("gpu", 48, 1_152_000, 4),
        gpu="h100",
    )


class Nibi(DescribedSite):
    """H100 of 80 GB, eight a node."""

    description: ClassVar[SiteDescription] = _cluster(
        "nibi",
        _node("cpu", 192, 766_000),
        _node("large", 192, 6_144_000),
        _node("gpu", 112, 2_048_000, 8),
        gpu="h100",
    )


class Rorqual(DescribedSite):
    """H100 of 80 GB."""

    description: ClassVar[SiteDescription] = _cluster(
        "rorqual",
        _node("cpu", 192, 768_000),
        _node("large", 192, 3_086_250),
        _node("gpu", 64, 510_000, 4),
        gpu="h100",
    )


def _whole(name: str, cores: int, megabytes: int, gpus: int = 0, *, max_walltime: str = "24h", **more: Any) -> NodeType:
    """Trillium's: what is asked for of memory is ignored there."""
    skip = frozenset({"memory"})
    return _node(name, cores, megabytes, gpus, max_walltime=max_walltime, whole=True, skip=skip, **more)


class Trillium(DescribedSite):
    """Whole nodes, or one GPU with a quarter of one; CPU and GPU jobs are submitted from login nodes of their own.

    Home and project folders can only be read by jobs: all that corral writes goes to ``$SCRATCH``.
    """

    description: ClassVar[SiteDescription] = _cluster(
        "trillium",
        _whole("cpu", 192, 767_000, max_nodes=128),
        _whole("one-gpu", 24, 188 * 1024, 1, max_nodes=1),
        _whole("gpu", 96, 767_000, 4, max_nodes=25),
        _whole("debug", 192, 767_000, queue="debug", max_walltime="1h", max_nodes=2, named_only=True),
        gpu=None,
        page="Trillium_Quickstart",
        hosts=("tri-login*", "trig-login*"),
        environment=_NO_SPILLING,
    )
