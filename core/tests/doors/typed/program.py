"""A program of a user's that has types: `mypy --strict` says of each value what stands here, and it runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, assert_type

from distributed import Client, Security

import corral
from corral import Cluster, WorkerGroup, hookimpl
from corral.errors import ClusterNotFound, InvalidRequest, JobsFailed
from corral.plugin import Job
from corral.view.overview import GroupView, JobView, Overview

if TYPE_CHECKING:
    from distributed.core import Status

    from corral.jobs.explanation import Explanations
    from corral.jobs.failures import Failures
    from corral.jobs.record import JobFailure, JobRecord, Jobs
    from corral.jobs.worker_failures import WorkerFailure
    from corral.scaling.account import Account
    from corral.scaling.adaptive import Adapting


class Notes:
    """A plugin of one's own."""

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Job:
        """Leave the job as it is."""
        return job


class Centre(Cluster):
    """A class of one's own, around corral's."""

    def __init__(self, project: str, directory: str, plugins: Sequence[object] = ()) -> None:
        self.project = project
        super().__init__(
            "local",
            groups={"small": WorkerGroup(memory="200MB", cores=1), "large": WorkerGroup(memory="400MB", cores=2)},
            interface="lo",
            backend_options={"directory": directory, "cores": 4, "memory": "4GB"},
            plugins=plugins,
            security=True,
        )


def main(directory: str) -> str:
    """Whatever a program does with a cluster."""
    with Centre("ocean", directory) as cluster, Client(cluster) as client:
        assert_type(cluster, Centre)
        assert_type(cluster.project, str)
        cluster.scale(small=1)
        cluster.wait_for_workers(1, timeout="60s", fraction=1.0)
        sizes(cluster)
        shown(cluster)
        assert client.submit(sum, [1, 2]).result() == 3
        cluster.add_group("other", WorkerGroup(memory="1GB"))
        cluster.remove_group("other")
        assert_type(cluster.maximum_core_hours, float | None)
        cluster.maximum_core_hours = 10.0
        return cluster.name


def sizes(cluster: Cluster) -> None:
    """To adapt, and to stop."""
    adaptive = cluster.adapt(minimum=1, maximum=2, groups={"large": {"maximum": 0}})
    if TYPE_CHECKING:
        assert_type(adaptive, Adapting)
    assert_type(adaptive.minimum, int)
    assert_type(adaptive.maximum, float)
    adaptive.stop()


def shown(cluster: Cluster) -> None:
    """What there is."""
    assert_type(cluster.name, str)
    assert_type(cluster.groups, Mapping[str, WorkerGroup])
    assert_type(cluster.scheduler_address, str)
    assert_type(cluster.dashboard_link, str)
    assert_type(cluster.observed, set[str])
    assert_type(cluster.job_script("small"), str)
    assert_type(cluster.logs(cluster.jobs[0]), str)
    assert_type(cluster.account().total, float)
    overview = cluster.overview()
    assert_type(overview, Overview)
    assert_type(overview.core_hours, float)
    for group in overview.groups:
        assert_type(group, GroupView)
    for job in overview.jobs:
        assert_type(job, JobView)
    if TYPE_CHECKING:
        assert_type(cluster.status, Status)
        assert_type(cluster.jobs, Jobs)
        assert_type(cluster.jobs[0], JobRecord)
        assert_type(cluster.workers, dict[str, JobRecord])
        assert_type(cluster.failures, Failures)
        assert_type(cluster.failures[0], JobFailure | WorkerFailure)
        assert_type(cluster.account(), Account)
        assert_type(cluster.explain(), Explanations)
        assert_type(cluster.explain()[0].why, str)
        assert_type(cluster.get_client(), Client)
    assert_type(corral.credentials_of({"address": cluster.scheduler_address}), Security | None)


def refused() -> list[str]:
    """Errors have types, too."""
    words = []
    try:
        Cluster.connect("nobody")
    except ClusterNotFound as error:
        words.append(str(error))
    try:
        Cluster("local", memory="much")
    except (InvalidRequest, JobsFailed) as refusal:
        words.append(str(refusal))
    return words


if __name__ == "__main__":
    print(main(sys.argv[1]), *refused(), sep="\n")
