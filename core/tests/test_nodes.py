"""A job of several nodes of which some die: asked as values."""

from __future__ import annotations

import pytest
from attrs import evolve

from corral.jobs import nodes
from corral.jobs.record import JobRecord
from corral.jobs.transitions import connect, disconnect, lose_node, observe
from corral.plugin.values import JobId, JobState, JobStatus

HOSTS = ("n1", "n2", "n3")


@pytest.fixture
def record() -> JobRecord:
    """Three nodes, two workers each, all of them connected."""
    job = JobRecord(
        id=JobId("7_0"),
        status=JobStatus(state=JobState.RUNNING, hosts=HOSTS),
        expected_workers=6,
        nodes=tuple(evolve(node, host=HOSTS[node.index]) for node in nodes.of_job(3)),
        workers_per_node=2,
    )
    for index in range(6):
        job = connect(job, f"7_0-{index}", now=1.0)
    return job


def test_a_node_is_silent_when_its_last_worker_has_left(record: JobRecord) -> None:
    """One of two that leaves is a worker's matter, not its node's."""
    record = disconnect(record, "7_0-2", now=5.0)
    assert [node.silent_since for node in record.nodes] == [None, None, None]
    record = disconnect(record, "7_0-3", now=6.0)
    assert [node.silent_since for node in record.nodes] == [None, 6.0, None]


def test_a_silent_node_is_lost_after_a_while(record: JobRecord) -> None:
    """A nanny may bring a worker back before."""
    record = disconnect(disconnect(record, "7_0-2", now=5.0), "7_0-3", now=6.0)
    assert nodes.lost(record.nodes, 6.0 + nodes.SILENT_GRACE - 0.1) == []
    [lost] = nodes.lost(record.nodes, 6.0 + nodes.SILENT_GRACE)
    assert str(lost) == "n2"


def test_workers_of_a_lost_node_are_not_expected(record: JobRecord) -> None:
    """The job is whole without them, and says which node it lost."""
    record = disconnect(disconnect(record, "7_0-2", now=5.0), "7_0-3", now=6.0)
    assert not record.is_connected
    record = lose_node(record, record.nodes[1])
    assert record.expected_workers == 4
    assert record.is_connected
    assert record.hosts == ("n1", "n3")
    assert repr(record) == "<job 7_0: working, running on n1 n3, 4 of 4 workers, n2 lost>"
    assert nodes.lost(record.nodes, 1000.0) == [], "it is lost once"


def test_a_lost_node_that_comes_back_counts_again(record: JobRecord) -> None:
    """The network was away, not the node."""
    record = disconnect(disconnect(record, "7_0-2", now=5.0), "7_0-3", now=6.0)
    record = connect(lose_node(record, record.nodes[1]), "7_0-2", now=60.0)
    assert record.expected_workers == 6
    assert record.lost_hosts == ()
    record = connect(record, "7_0-3", now=61.0)
    assert record.is_connected
    assert record.expected_workers == 6


def test_a_requeued_job_has_all_nodes_again(record: JobRecord) -> None:
    """It keeps its id and gets nodes that work."""
    record = lose_node(record, record.nodes[1])
    for worker in record.workers:
        record = disconnect(record, worker, now=5.0)
    # Soon after, "pending" may be old news of a job that has ended.
    assert observe(record, JobStatus(state=JobState.PENDING), now=6.0).expected_workers == 4
    record = observe(record, JobStatus(state=JobState.PENDING), now=16.0)
    assert record.expected_workers == 6
    assert record.lost_hosts == ()


def test_names_after_a_requeue_tell_the_node_too() -> None:
    """The attempt is a part of the name."""
    assert [nodes.node_of(name, 4) for name in ("7_0-3", "7_0-4", "7_0.r2-11")] == [0, 1, 2]


def test_a_job_of_one_node_keeps_no_list() -> None:
    """Its node's death is its own."""
    assert nodes.of_job(1) == ()
