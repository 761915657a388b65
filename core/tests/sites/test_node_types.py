"""Nodes of a described site: which take a job, and what a job has of them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from corral.errors import InvalidRequest
from corral.plugin import DescribedSite, Job, NodeType, SiteDescription, SiteFacts
from corral.plugin.values import Resources
from corral.request.drawing import draw
from corral.request.scale import the_group

WHOLE = NodeType(name="main", queue="main", cores=128, memory="200GB", whole=True)
DEBUG = NodeType(name="debug", cores=64, memory="100GB", directives=("--qos=debug",))
DEBUG_GPU = NodeType(name="debug", cores=16, memory="50GB", gpus=4, directives=("--qos=debug", "--constraint=gpu"))


def drawn(*nodes: NodeType, **asked: Any) -> Resources:
    """What a job has of a cluster on such nodes."""

    class Here(DescribedSite):
        description = SiteDescription(facts=SiteFacts(title="Here"), backend="local", nodes=nodes)

    blueprint = draw({"backend": "local", "plugins": [Here()], **asked})
    return blueprint.resources(the_group(None, blueprint.groups))


def completed(*nodes: NodeType, queue: str | None = None, extra: tuple[str, ...] = (), **resources: Any) -> Job:
    class Here(DescribedSite):
        description = SiteDescription(facts=SiteFacts(title="Here"), backend="slurm", nodes=nodes)

    return Here().complete(Job(queue=queue, resources=Resources(**resources), extra_directives=extra))


@pytest.mark.parametrize(
    ("asked", "processes"),
    [
        ({"memory": "30GB"}, 6),
        ({"memory": "30GB", "processes": 1}, 1),
        ({"memory": "150GB"}, 1),
        ({"memory": "150GB", "cores": 64}, 8),
        ({"memory": "1GB", "cores": 32}, 8),
        ({"memory": "1GB", "threads": 1}, 128),
    ],
    ids=["as often as it fits", "as said", "once", "as before", "as is usual", "each core"],
)
def test_no_worker_of_a_whole_node_has_less_than_it_was_to_have(asked: dict[str, Any], processes: int) -> None:
    """The node is paid for and used; a task that needs 150 GB still finds them."""
    has = drawn(WHOLE, **asked)
    assert (has.cores, has.memory) == (128, 200 * 10**9)
    assert has.processes == processes


def test_each_gpu_of_a_whole_node_has_its_worker() -> None:
    """One worker with one GPU of four would leave the others idle."""
    node = NodeType(name="gpu", cores=64, memory="400GB", gpus=4, whole=True)
    has = drawn(node, cores=16, memory="1GB", gpus=1)
    assert (has.gpus, has.processes) == (4, 4)


def test_one_name_stands_for_nodes_with_gpus_and_without() -> None:
    """A QOS of both: the job's GPUs decide, and what is said of a refusal is of those nodes."""
    assert completed(DEBUG, DEBUG_GPU, queue="debug", gpus=1).extra_directives == ("--qos=debug", "--constraint=gpu")
    assert completed(DEBUG, DEBUG_GPU, queue="debug").extra_directives == ("--qos=debug",)
    with pytest.raises(InvalidRequest, match="this job: debug has at most 50GB a node$"):
        completed(DEBUG, DEBUG_GPU, queue="debug", gpus=1, memory=10**11)


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [
        (1, 1, "at most 1 node"),
        (1, 3, "at most 3 nodes"),
        (6, None, "at least 6 nodes"),
        (6, 8, "at least 6 and at most 8 nodes"),
    ],
)
def test_how_many_nodes_it_takes_is_said(least: int, most: int | None, words: str) -> None:
    """As far as there is a limit."""
    with pytest.raises(InvalidRequest, match=f"^nodes: Here .*: main takes jobs of {words}$"):
        completed(evolve(WHOLE, min_nodes=least, max_nodes=most), nodes=5)


def test_no_gpus_are_none() -> None:
    """Not at most so many."""
    with pytest.raises(InvalidRequest, match="^gpus: Here has no node for this job: main has no GPUs$"):
        completed(WHOLE, queue="main", gpus=1)


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
    with pytest.raises(InvalidRequest, match="Here has no nodes without GPUs .*: main$"):
        completed(alone)
    with pytest.raises(InvalidRequest, match="Here has no nodes with GPUs .*: main$"):
        completed(alone, gpus=1)


@pytest.mark.parametrize("directive", ["-q premium", "--qos=premium", "--qos premium"])
def test_the_users_directive_counts_however_it_is_written(directive: str) -> None:
    """Slurm would take the last of two."""
    assert completed(DEBUG, extra=(directive,)).extra_directives == (directive,)


def test_a_sites_variables_are_the_jobs_but_for_the_users() -> None:
    """``env=`` of a cluster wins."""

    class Here(DescribedSite):
        description = SiteDescription(
            facts=SiteFacts(title="Here"), backend="slurm", environment={"A": "of the site", "B": "of the site"}
        )

    assert Here().complete(Job(environment={"A": "mine"})).environment == {"A": "mine", "B": "of the site"}
