"""Laws about nodes: each kind can be had, and a request that fits none is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from corral.errors import InvalidRequest
from corral.plugin.sites import NodeType
from corral.plugin.values import Job, Resources
from corral.testing.silence import SilentHooks
from corral.testing.site_laws.declared import BASE, SiteLaws, accepted, described_nodes, fitting, in_words

#: More than any machine has.
ENDLESS = 10**6


class NodeLaws(SiteLaws):
    """Of the nodes that a site describes."""

    @pytest.fixture
    def nodes(self, house: Any) -> list[NodeType]:
        if not (nodes := described_nodes(house)):
            pytest.skip("it describes no nodes")
        return list(nodes)

    def test_every_node_can_be_had(self, house: Any, nodes: list[NodeType]) -> None:
        """Without a name, unless they are `named_only`: nodes that others always come before are none."""
        for node in nodes:
            asked = [self.as_user(job) for job in fitting(node) if node.named_only or job.queue is None]
            assert any(house.choose_node(job) is node for job in asked), (
                f"no request gets {_called(node)}: nodes that come before take them all. Set it before those, or "
                "say named_only=True"
            )

    def test_every_node_can_be_had_by_its_name(self, house: Any, nodes: list[NodeType]) -> None:
        """``queue=`` takes the name, and the batch system its own queue."""
        for node in nodes:
            jobs = [self.as_user(evolve(job, queue=node.name)) for job in fitting(node)]
            got = [(job, house.choose_node(job)) for job in jobs]
            assert any(each is node for _, each in got), f"queue={node.name!r} never is {_called(node)}"
            for job, each in got:
                assert each is not None, in_words(job)
                assert node.name in (each.name, each.queue), in_words(job)

    def test_a_request_goes_where_it_was_sent(
        self, house: Any, nodes: list[NodeType], alone: SilentHooks, through: SilentHooks
    ) -> None:
        """It has the queue, the directives and the left-out names of its nodes, and all of a whole node."""
        for node in nodes:
            for asked in map(self.as_user, fitting(node)):
                if accepted(alone, asked) is None:
                    continue
                chosen, got = house.choose_node(asked), through.prepare_job(job=asked)
                assert chosen is not None, f"it goes nowhere: {in_words(asked)}"
                assert got.queue == chosen.queue, f"{_called(chosen)} has queue {chosen.queue!r}: {in_words(asked)}"
                assert set(chosen.directives) <= set(got.extra_directives), f"{_called(chosen)}: {in_words(asked)}"
                assert chosen.skip <= got.skip, f"{_called(chosen)}: {in_words(asked)}"
                if chosen.whole:
                    has = got.resources
                    assert (chosen.cores, chosen.gpus) == (has.cores, has.gpus), f"{_called(chosen)} is whole"
                    enough = max(chosen.memory or 0, asked.resources.memory or 0)
                    assert (has.memory or 0) >= enough, f"{_called(chosen)} is whole"

    def test_nobody_is_sent_to_nodes_with_gpus_who_wants_none(self, house: Any, nodes: list[NodeType]) -> None:
        """They cost more, where there are others; who names them gets them."""
        if all(node.gpus or node.named_only for node in nodes):
            pytest.skip("it has no others")
        for node in nodes:
            for asked in map(self.as_user, fitting(node)):
                if asked.queue is None:
                    chosen = house.choose_node(asked)
                    assert bool(chosen.gpus) == bool(asked.resources.gpus), f"{in_words(asked)} gets {_called(chosen)}"

    @pytest.mark.parametrize("argument", ["cores", "memory", "gpus", "walltime", "nodes"])
    def test_what_is_too_large_is_refused(self, nodes: list[NodeType], through: SilentHooks, argument: str) -> None:
        """Before anything is submitted; the error names the argument."""
        for node in nodes:
            if not _limits(node, argument):
                continue
            # The other kinds of this name may be larger.
            namesakes = [each for each in nodes if node.name in (each.name, each.queue)]
            if not all(_limits(each, argument) for each in namesakes):
                continue
            _refused(through, _too_large(self.as_user(_smallest(node)), argument), argument)
        if all(_limits(node, argument) for node in nodes):
            unnamed = evolve(_smallest(nodes[0]), queue=None)
            _refused(through, _too_large(self.as_user(unnamed), argument), argument)


def _refused(hooks: SilentHooks, asked: Job, argument: str) -> None:
    try:
        got = hooks.prepare_job(job=asked)
    except InvalidRequest as error:
        refusal = error
    else:
        pytest.fail(f"no nodes have so much, and it is taken: {in_words(asked)} became {in_words(got)}")
    assert refusal.argument == argument, f"{argument} is too large, and the error is about another: {refusal}"


def _called(node: NodeType) -> str:
    gpus = f", {node.gpus} GPUs" if node.gpus else ""
    return f"the node {node.name!r} ({node.cores} cores{gpus})"


def _limits(node: NodeType, argument: str) -> bool:
    limit = {"memory": node.memory, "walltime": node.max_walltime, "nodes": node.max_nodes}
    return limit.get(argument, 1) is not None


def _smallest(node: NodeType) -> Job:
    has = Resources(nodes=node.min_nodes, cores=1, memory=10**9, gpus=1 if node.gpus else 0)
    return evolve(BASE, resources=has, walltime=60, queue=node.name)


def _too_large(job: Job, argument: str) -> Job:
    if argument == "walltime":
        return evolve(job, walltime=ENDLESS * 3600)
    much = {argument: ENDLESS * 10**9 if argument == "memory" else ENDLESS}
    return evolve(job, resources=evolve(job.resources, **much))
