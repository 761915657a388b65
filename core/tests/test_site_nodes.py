"""Nodes of a described site: which take a job, and what a job has of them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from corral.errors import InvalidRequest
from corral.plugin import DescribedSite, Job, NodeType, SiteDescription, SiteFacts
from corral.plugin.values import Resources

WHOLE = NodeType(name="main", queue="main", cores=128, memory="200GB", whole=True)
DEBUG = NodeType(name="debug", cores=64, memory="100GB", directives=("--qos=debug",))
DEBUG_GPU = NodeType(name="debug", cores=16, memory="50GB", gpus=4, directives=("--qos=debug", "--constraint=gpu"))
LIMIT_IN_BYTES = 100_000_000_000


def completed(*nodes: NodeType, queue: str | None = None, extra: tuple[str, ...] = (), **resources: Any) -> Job:
    class Here(DescribedSite):
        description = SiteDescription(facts=SiteFacts(title="Here"), backend="slurm", nodes=nodes)

    return Here().complete(Job(queue=queue, resources=Resources(**resources), extra_directives=extra))


def test_a_whole_node_holds_a_worker_as_often_as_it_fits() -> None:
    """One core and 30 GB were asked for, six times of which a node has."""
    has = completed(WHOLE, cores=1, memory=30 * 10**9).resources
    assert Resources(cores=128, memory=200 * 10**9, processes=6) == has


def test_each_gpu_of_a_whole_node_has_its_worker() -> None:
    """One worker with one GPU of four leaves none of them idle."""
    node = NodeType(name="gpu", cores=64, memory="400GB", gpus=4, whole=True)
    has = completed(node, cores=16, memory=10**9, gpus=1).resources
    assert Resources(cores=64, memory=400 * 10**9, gpus=4, processes=4) == has


def test_what_fits_only_once_is_there_once() -> None:
    """Eight workers that want more than half of a node stay eight."""
    has = completed(WHOLE, cores=64, memory=150 * 10**9, processes=8).resources
    assert Resources(cores=128, memory=200 * 10**9, processes=8) == has


def test_all_of_a_node_can_be_asked_for() -> None:
    """A backend has rounded the memory up to its unit, beyond what the node has, before the site sees it."""
    rounded = LIMIT_IN_BYTES + 2**20 - 1
    assert completed(DEBUG, memory=rounded).resources.memory == LIMIT_IN_BYTES
    with pytest.raises(InvalidRequest, match="memory"):
        completed(DEBUG, memory=LIMIT_IN_BYTES + 2**20)


def test_one_name_stands_for_nodes_with_gpus_and_without() -> None:
    """A QOS of both: the job's GPUs decide, and what is said of a refusal is of those nodes."""
    assert completed(DEBUG, DEBUG_GPU, queue="debug", gpus=1).extra_directives == ("--qos=debug", "--constraint=gpu")
    assert completed(DEBUG, DEBUG_GPU, queue="debug").extra_directives == ("--qos=debug",)
    with pytest.raises(InvalidRequest, match="this job: debug has at most 46.57 GiB a node$"):
        completed(DEBUG, DEBUG_GPU, queue="debug", gpus=1, memory=10**11)


def test_where_every_node_has_gpus_every_job_goes_there() -> None:
    """Elsewhere nodes with GPUs are left to jobs that use them."""
    node = NodeType(name="prod", queue="prod", cores=64, gpus=4)
    assert completed(node).queue == "prod"
    with pytest.raises(InvalidRequest, match="cores"):
        completed(node, WHOLE, cores=200)
    assert completed(WHOLE, node, cores=64).queue == "main"


def test_a_site_whose_nodes_are_chosen_by_name_says_so() -> None:
    """Each refusal names the argument that the job lacks."""
    alone = evolve(WHOLE, named_only=True)
    with pytest.raises(InvalidRequest, match="queue: Here has no nodes without GPUs for clusters"):
        completed(alone)
    with pytest.raises(InvalidRequest, match="gpus: Here has no nodes with GPUs for clusters"):
        completed(alone, gpus=1)


@pytest.mark.parametrize("directive", ["-q premium", "--qos=premium", "--qos premium"])
def test_the_users_directive_counts_however_it_is_written(directive: str) -> None:
    """Slurm would take the last of two."""
    assert completed(DEBUG, extra=(directive,)).extra_directives == (directive,)
