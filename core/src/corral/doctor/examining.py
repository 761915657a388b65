"""The order in which the doctor looks: first what costs nothing, and last, if that is wanted, at a real job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen

from corral.doctor import compared, environment, folders, network, queues
from corral.doctor.visiting import WALLTIME, Question, Visiting, visit
from corral.errors import BatchSystemError, CorralError, InvalidRequest
from corral.plugin.values import Finding, Verdict
from corral.request.drawing import draw, scheduler_place
from corral.request.scale import known_group

if TYPE_CHECKING:
    from corral.request.blueprint import Blueprint

T = TypeVar("T")

#: What a job asks for if nobody has said how much memory.
_MEMORY = "1GB"


@frozen(kw_only=True)
class Examination:
    """What is to be looked at."""

    #: Arguments of `Cluster`, beside what is configured.
    given: Mapping[str, Any]
    #: One group's jobs alone; None: those of all groups.
    group: str | None = None
    #: Submit a job of each group.
    submits: bool = False
    #: Seconds to wait for each of them.
    timeout: float = 600.0
    #: Modules that the user's tasks import.
    modules: Sequence[str] = ()
    #: Called before something that takes time, with a word for it.
    tell: Callable[[str], object] = field(default=str)

    def findings(self) -> Iterator[Finding]:
        """Look, and yield each finding as soon as it is there."""
        yield environment.versions()
        yield from environment.plugins()
        yield _asked(environment.login_shell())
        try:
            blueprint, notes = self._drawn()
        except CorralError as error:
            yield _refusal(error)
            return
        yield from notes
        worst = Verdict.GOOD
        doubts = list(self._doubts(blueprint))
        for finding in self._before_any_job(blueprint):
            if finding.verdict is Verdict.WRONG:
                worst = Verdict.WRONG
            yield finding
        if not self.submits:
            yield from doubts
        elif worst is Verdict.WRONG:
            yield from doubts
            yield Finding(
                subject="job",
                verdict=Verdict.DOUBTFUL,
                text="none was submitted: it would fail",
                cure="First put right what is wrong, and then run this again",
            )
        else:
            yield from self._of_jobs(blueprint, doubts)

    # --- on paper -----------------------------------------------------------------------------------------------

    def _drawn(self) -> tuple[Blueprint, list[Finding]]:
        """The cluster on paper, and what was supposed for it."""
        notes = []
        given = dict(self.given)
        if scheduler_place(None, given.get("backend")) == "job":
            notes.append(
                Finding(
                    subject="scheduler",
                    verdict=Verdict.DOUBTFUL,
                    text="the configuration puts it into a job; the doctor has it in its own process, on this host",
                    cure="Read what is said of the address as being about this host alone",
                )
            )
        try:
            blueprint = draw(given)
        except InvalidRequest as error:
            if error.argument != "memory" or "memory" in given:
                raise
            blueprint = draw({**given, "memory": _MEMORY})
        if self.group is not None:
            known_group(self.group, blueprint.groups)
        return blueprint, notes

    def _groups(self, blueprint: Blueprint) -> list[str]:
        return list(blueprint.groups) if self.group is None else [self.group]

    def _before_any_job(self, blueprint: Blueprint) -> Iterator[Finding]:
        """All that can be seen from here."""
        silent = set()
        for group in self._groups(blueprint):
            batch = blueprint.batch_of(group)
            if batch.name not in silent:
                self.tell("asking the batch system")
                answer = _asked(queues.answers(batch))
                yield answer
                silent.add(batch.name)
                is_answering = answer.verdict is not Verdict.WRONG
            if is_answering:
                job = blueprint.request(group, 1)
                if not batch.facts.is_everywhere:
                    yield self._of_group(blueprint, group, _asked(queues.takes(batch, job)))
                for finding in _asked(batch.check_health(job)):
                    yield self._of_group(blueprint, group, finding)
        yield network.listening(blueprint.scheduler_host, blueprint.scheduler_port)
        yield folders.home(blueprint.home)
        if blueprint.chosen_log_directory is not None:
            yield folders.logs(blueprint.chosen_log_directory)

    def _doubts(self, blueprint: Blueprint) -> Iterator[Finding]:
        """What speaks against a cluster from here, and is refuted by a worker that connects."""
        if all(blueprint.batch_of(group).facts.is_everywhere for group in self._groups(blueprint)):
            return
        if (doubt := network.loopback(blueprint.scheduler_host)) is not None:
            yield doubt
        yield from folders.unshared(blueprint.home.path, "shared_directory=")
        if blueprint.chosen_log_directory is not None:
            yield from folders.unshared(blueprint.chosen_log_directory, "log_directory=")

    def _of_group(self, blueprint: Blueprint, group: str, finding: Finding) -> Finding:
        """The finding, with the group's name if there are several."""
        if len(blueprint.groups) == 1:
            return finding
        return evolve(finding, subject=f"{finding.subject} (group {group})")

    # --- in jobs ------------------------------------------------------------------------------------------------

    def _of_jobs(self, blueprint: Blueprint, doubts: Sequence[Finding]) -> Iterator[Finding]:
        """Submit a job of each group, one after the other, and look at where it is."""
        from corral.cluster.cluster import Cluster

        names = [*environment.NEEDED, *environment.USUAL]
        backends = {plugin_of(blueprint, group) for group in self._groups(blueprint)}
        here = environment.installed([*names, *sorted(backends)])
        modules = {name: find_spec(name.partition(".")[0]) is not None for name in self._modules(blueprint)}
        where = {"shared folder": str(blueprint.home.path)}
        if blueprint.chosen_log_directory is not None:
            where["log folder"] = str(blueprint.log_directory)
        for name in self._groups(blueprint):
            if local := blueprint.groups[name].local_directory:
                where.setdefault("local folder", str(local))
        question = Question(packages=list(here), modules=list(modules), folders=where)
        drains = [group.drain_seconds or 0.0 for group in blueprint.groups.values()]
        visiting = Visiting(question=question, walltime=round(max(WALLTIME, 2 * max(drains))))
        given = {"memory": _MEMORY, **self.given} if _lacks_memory(self.given, blueprint) else dict(self.given)
        given["plugins"] = [*(given.get("plugins") or ()), visiting]
        given["name"] = f"doctor-{blueprint.uuid[:8]}"
        try:
            with _silent(), Cluster(**given, scheduler="process") as cluster:
                for group in self._groups(blueprint):
                    self.tell(f"waiting for a job{'' if len(blueprint.groups) == 1 else f' of group {group!r}'}")
                    found = visit(cluster, group, self.timeout)
                    if found.connected is None:
                        yield from doubts
                    for finding in compared.findings(found, here, modules):
                        yield self._of_group(blueprint, group, finding)
                    cluster.scale(jobs=0, group=group)
        except CorralError as error:
            yield _refusal(error)

    def _modules(self, blueprint: Blueprint) -> list[str]:
        wanted = [name for group in self._groups(blueprint) for name in blueprint.groups[group].preimport]
        return list(dict.fromkeys([*self.modules, *wanted]))


def plugin_of(blueprint: Blueprint, group: str) -> str:
    """The distribution of a group's backend."""
    from corral.plugin import discovery

    backend = blueprint.batch_of(group).backend
    return next(each.distribution for each in discovery.installed() if each.kind == "backend" and each.name == backend)


def _lacks_memory(given: Mapping[str, Any], blueprint: Blueprint) -> bool:
    return "memory" not in given and all(group.memory == _MEMORY for group in blueprint.groups.values())


def _refusal(error: CorralError) -> Finding:
    """An argument that cannot be used, or a batch system that cannot be chosen."""
    if isinstance(error, InvalidRequest):
        return Finding(
            subject=error.argument, verdict=Verdict.WRONG, text=error.problem, cure=f"Change {error.argument}="
        )
    subject = "batch system" if isinstance(error, BatchSystemError) else "cluster"
    return Finding(subject=subject, verdict=Verdict.WRONG, text=str(error), cure="See the words above")


def _asked(question: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(question)


@contextmanager
def _silent() -> Iterator[None]:
    """What corral would log of the job is said by findings."""
    logger = logging.getLogger("corral")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
