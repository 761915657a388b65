"""How an overview is made of an allocation: one job, whose workers are those of all of its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral.cluster.shown import load_of
from corral.view.overview import PHASES, GroupView, Load, Overview

if TYPE_CHECKING:
    from corral.allocation.cluster import Allocation
    from corral.allocation.detect import Grant, Shares


def overview_of(cluster: Allocation, grant: Grant | None, shares: Shares | None, *, moment: float) -> Overview:
    """What there is now; `moment` is now (s since the epoch). Before it has started, nothing is known."""
    is_open = cluster.status.name == "running" and cluster.scheduler is not None
    load = load_of(cluster.scheduler) if is_open and cluster.scheduler is not None else Load()
    groups: tuple[GroupView, ...] = ()
    if grant is not None and shares is not None:
        given = shares.resources
        phase = "working" if load.workers else "starting"
        groups = (
            GroupView(
                name=f"job {grant.allocation.job_id}",
                workers_per_job=cluster.n_workers,
                nodes=len(cluster.hosts),
                cores=given.cores,
                memory=given.memory or None,
                gpus=given.gpus,
                wanted=1,
                jobs={each: int(is_open and each == phase) for each in PHASES},
                ended=int(not is_open),
                workers=load.workers,
            ),
        )
    return Overview(
        name=cluster.name,
        backend="" if grant is None else grant.backend,
        status=cluster.status.name,
        moment=moment,
        scheduler=cluster.scheduler_address,
        dashboard=cluster.dashboard_link,
        groups=groups,
        load=load,
    )
