"""Laws about requests: a site completes what was asked for, and takes nothing of it away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from attrs import evolve

from corral.plugin.site_directives import directive_name
from corral.plugin.sites import ROUNDING, DescribedSite, NodeType
from corral.plugin.values import Job
from corral.testing.silence import SilentHooks, reads_of_environment
from corral.testing.site_laws.declared import Prepared, SiteLaws, accepted, described_nodes, in_words

#: What a request counts, by the names of a group's arguments.
AMOUNTS: Mapping[str, Callable[[Job], int | None]] = {
    "nodes": lambda job: job.resources.nodes,
    "cores": lambda job: job.resources.cores,
    "memory": lambda job: job.resources.memory,
    "gpus": lambda job: job.resources.gpus,
    "walltime": lambda job: job.walltime,
}


class RequestLaws(SiteLaws):
    """Of `prepare_job`."""

    def test_a_request_keeps_at_least_what_was_asked(self, prepared: list[Prepared]) -> None:
        """Cores, memory, GPUs and nodes: what a user counts on is there."""
        for each in prepared:
            for name in ("nodes", "cores", "memory", "gpus"):
                asked, got = AMOUNTS[name](each.alone), AMOUNTS[name](each.through)
                assert asked is None or (got is not None and asked <= got), _lost(each, name)
            asked, got = each.alone.resources.processes, each.through.resources.processes
            assert asked == got, f"a site counts no workers, and processes={asked} became {got}: {each}"

    def test_a_request_asks_for_no_more_than_was_asked(self, prepared: list[Prepared]) -> None:
        """Users pay for what they do not use, unless the site says so: nodes that are whole, or `rounds`."""
        nodes = described_nodes(self.make(**self.site_options))
        for each in prepared:
            is_whole = any(_is_all_of(node, each.through) for node in nodes if node.whole)
            of_whole = ("cores", "memory", "gpus") if is_whole else ()
            for name in AMOUNTS.keys() - set(of_whole) - set(self.rounds):
                asked, got = AMOUNTS[name](each.alone), AMOUNTS[name](each.through)
                assert asked is None or got is None or got <= asked, (
                    f"{name}={asked} became {got}. If that is meant, say rounds = ({name!r},): {each}"
                )

    def test_a_request_keeps_its_walltime(self, prepared: list[Prepared]) -> None:
        """Workers stop taking tasks before it ends: neither less, nor nothing."""
        for each in prepared:
            asked, got = each.alone.walltime, each.through.walltime
            assert asked is None or (got is not None and asked <= got), _lost(each, "walltime")

    def test_a_request_keeps_its_name(self, prepared: list[Prepared]) -> None:
        """After a submission without an answer, and to clean up, corral finds jobs by their name."""
        for each in prepared:
            assert each.alone.name == each.through.name, f"corral would not find its jobs: {each}"

    def test_a_request_keeps_what_it_runs(self, prepared: list[Prepared]) -> None:
        """Its command, its folders, its shell."""
        for each in prepared:
            for name in ("command", "directory", "own_directory", "log_directory", "shebang", "excluded_hosts"):
                asked, got = getattr(each.alone, name), getattr(each.through, name)
                assert asked == got, f"{name}={asked!r} became {got!r}: {each}"

    def test_a_request_keeps_its_environment(self, prepared: list[Prepared]) -> None:
        """A site may add variables; those of the user keep their values."""
        for each in prepared:
            kept = {name: each.through.environment.get(name) for name in each.alone.environment}
            assert dict(each.alone.environment) == kept, f"the user's variables: {each}"

    @pytest.mark.parametrize("lines", ["prologue", "epilogue"])
    def test_a_request_keeps_its_lines_in_their_order(self, prepared: list[Prepared], lines: str) -> None:
        """A site may add lines before and after those of the user, not between them."""
        for each in prepared:
            own, got = getattr(each.alone, lines), getattr(each.through, lines)
            places = [got[start : start + len(own)] for start in range(len(got) - len(own) + 1)]
            assert own in places, f"{lines} {list(own)} became {list(got)}: {each}"

    def test_what_the_user_names_counts(self, house: Any, through: SilentHooks) -> None:
        """An account, and a queue that the site does not know: there are private ones."""
        names = {node.name for node in described_nodes(house)}
        for asked in self.requests():
            wanted = evolve(asked, account="of-the-user", queue=asked.queue or "of-the-user")
            if (got := accepted(through, wanted)) is None:
                continue
            assert got.account == "of-the-user", f"the account became {got.account!r}: {in_words(wanted)}"
            if wanted.queue not in names:
                assert got.queue == wanted.queue, f"the queue became {got.queue!r}: {in_words(wanted)}"

    def test_directives_of_the_user_survive(self, through: SilentHooks) -> None:
        """All of them, in their order."""
        own = ("--user-wrote=this", "-Z and=that")
        for asked in self.requests():
            if (got := accepted(through, evolve(asked, extra_directives=own))) is not None:
                assert own == tuple(each for each in got.extra_directives if each in own), in_words(asked)

    def test_directives_of_the_user_win(self, prepared: list[Prepared], through: SilentHooks) -> None:
        """Where the site says the same option, the user's is the only one."""
        for each, added in _added(prepared):
            name = directive_name(added)
            own = f"{added}x" if added.partition("=")[2] or " " in added.strip() else f"{added}=x"
            if (got := accepted(through, evolve(each.asked, extra_directives=(own,)))) is None:
                continue
            said = [line for line in got.extra_directives if directive_name(line) == name]
            assert said == [own], f"the user's {own!r} and the site's {added!r} came to {said}: {each}"

    def test_what_the_user_leaves_out_is_left_out(self, prepared: list[Prepared], through: SilentHooks) -> None:
        """``skip_directives`` holds for the site's directives, too; and the site forgets none of the names."""
        added = {directive_name(line): each for each, line in _added(prepared)}
        cases = [(prepared[0].asked, "memory"), *((each.asked, name) for name, each in added.items())]
        for asked, name in cases:
            # As it is written, and as it is called: a group's request has both.
            skip = frozenset({name, name.lstrip("-")})
            if (got := accepted(through, evolve(asked, skip=skip))) is None:
                continue
            assert skip <= got.skip, f"the site forgets to skip {sorted(skip - got.skip)}: {in_words(asked)}"
            said = [line for line in got.extra_directives if directive_name(line) == name]
            assert not said, f"the user skips {name!r}, and the site adds {said}: {in_words(asked)}"

    def test_a_prepared_request_is_prepared(self, prepared: list[Prepared], through: SilentHooks) -> None:
        """A second time changes nothing."""
        for each in prepared:
            again = _as_rounded(each.through, through.prepare_job(job=each.through))
            assert each.through == again, f"it became {_difference(each.through, again)}: {each}"

    def test_preparing_depends_on_nothing_else(self, house: Any, alone: SilentHooks) -> None:
        """No I/O, no clock, no memory of the last request, and no variables but those of `environment`."""
        first, second = self.hooks(house), self.hooks(self.make(**self.site_options))
        asked = self.requests()
        asked.append(evolve(asked[0], account=None, queue=None))
        with reads_of_environment() as of_backend:
            for job in asked:
                accepted(alone, job)
        with reads_of_environment() as read:
            forth = [accepted(first, job) for job in asked]
        undeclared = read - of_backend - set(self.environment)
        assert not undeclared, (
            f"it reads {', '.join(sorted(undeclared))}: use defaults, or say so in environment = {{…}}"
        )
        # By another one, which has not seen the others, and by the same in another order.
        for hooks in (second, first):
            back = [accepted(hooks, job) for job in reversed(asked)][::-1]
            for job, one, other in zip(asked, forth, back, strict=True):
                assert one == other, f"the same request came to two: {in_words(job)}"

    def test_completing_changes_nobodys_values(self, house: Any) -> None:
        """`complete` returns another request, and leaves the one that it was given as it was."""
        if not isinstance(house, DescribedSite):
            pytest.skip("it has no method `complete`")
        for asked in self.requests():
            before = repr(asked)
            house.complete(asked)
            assert before == repr(asked), "return evolve(job, …) instead"


def _is_all_of(node: NodeType, job: Job) -> bool:
    """True if the job asks for just what such a node has."""
    has = job.resources
    memory = node.memory in (None, has.memory) or 0 <= (has.memory or 0) - (node.memory or 0) < ROUNDING
    return (node.cores, node.gpus) == (has.cores, has.gpus) and memory


def _as_rounded(job: Job, again: Job) -> Job:
    """`again`, but for what the backend has rounded up of the memory that a site says of its nodes."""
    before, after = job.resources.memory, again.resources.memory
    if before is None or after is None or not 0 <= after - before < ROUNDING:
        return again
    return evolve(again, resources=evolve(again.resources, memory=before))


def _added(prepared: list[Prepared]) -> Iterator[tuple[Prepared, str]]:
    """The directives that the site adds, each with the first request that gets it."""
    seen = set()
    for each in prepared:
        for line in each.through.extra_directives:
            if line not in each.alone.extra_directives and line not in seen:
                seen.add(line)
                yield each, line


def _lost(each: Prepared, name: str) -> str:
    asked, got = AMOUNTS[name](each.alone), AMOUNTS[name](each.through)
    return f"{name}={asked} became {got}: {each}"


def _difference(one: Job, other: Job) -> str:
    words = [re.split(r", (?=\w+=)", in_words(job)) for job in (one, other)]
    return ", ".join(word for word in words[1] if word not in words[0]) or "something else"
