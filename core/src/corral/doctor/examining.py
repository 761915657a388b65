"""The order in which the doctor looks: first what costs nothing, and last, if that is wanted, at a real job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen

from corral.doctor import compared, environment, folders, network, queues
from corral.doctor.visiting import WALLTIME, Question, Visiting, visit
from corral.errors import BatchSystemError, CorralError, InvalidRequest, PluginError, UnknownBackend, did_you_mean
from corral.plugin.values import Finding, Verdict
from corral.request.drawing import draw, scheduler_place

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
    #: Called with the name of each host where a job is, before anything is said of it.
    meet: Callable[[str], object] = field(default=str)

    def findings(self) -> Generator[Finding, None, None]:
        """Look, and yield each finding as soon as it is there."""
        yield environment.versions()
        yield from environment.plugins()
        yield _asked(environment.login_shell())
        try:
            blueprint, given = self._drawn()
        except CorralError as error:
            yield _refusal(error)
            return
        if blueprint.site is not None:
            text = f"{blueprint.site!r}; `corral sites` says why, and `corral sites {blueprint.site}` what it sets"
            yield Finding(subject="site", verdict=Verdict.GOOD, text=text)
        if scheduler_place(None, blueprint.backend) == "job":
            yield _ELSEWHERE
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
            yield from self._of_jobs(blueprint, given, doubts)

    # --- on paper -----------------------------------------------------------------------------------------------

    def _drawn(self) -> tuple[Blueprint, dict[str, Any]]:
        """The cluster on paper, and the arguments for it."""
        given = dict(self.given)
        try:
            blueprint = draw(given)
        except InvalidRequest as error:
            if error.argument != "memory" or "memory" in given:
                raise
            given["memory"] = _MEMORY
            blueprint = draw(given)
        if self.group is not None and self.group not in blueprint.groups:
            near = did_you_mean(self.group, blueprint.groups)
            raise InvalidRequest("group", f"there is no {self.group!r}, only {', '.join(blueprint.groups)}.{near}")
        return blueprint, given

    def _groups(self, blueprint: Blueprint) -> list[str]:
        return list(blueprint.groups) if self.group is None else [self.group]

    def _before_any_job(self, blueprint: Blueprint) -> Iterator[Finding]:
        """All that can be seen from here."""
        began, answering = time.monotonic(), dict[str, bool]()
        for group in self._groups(blueprint):
            batch = blueprint.batch_of(group)
            if batch.name not in answering:
                self.tell("asking the batch system")
                answer = _asked(queues.answers(batch))
                yield answer
                answering[batch.name] = answer.verdict is not Verdict.WRONG
            if answering[batch.name]:
                job = blueprint.request(group, 1)
                if not batch.facts.is_everywhere:
                    takes = queues.takes(batch, job, blueprint.identity(batch), began)
                    yield self._of_group(blueprint, group, _asked(takes))
                for finding in _asked(batch.check_health(job)):
                    yield self._of_group(blueprint, group, finding)
        yield network.listening(blueprint.scheduler_host, blueprint.scheduler_port)
        if blueprint.elsewhere is not None:
            yield folders.home(blueprint.home, str(blueprint.elsewhere.connection))
            return
        yield folders.home(blueprint.home)
        if blueprint.chosen_log_directory is not None:
            yield folders.logs(blueprint.chosen_log_directory)

    def _doubts(self, blueprint: Blueprint) -> Iterator[Finding]:
        """What speaks against a cluster from here, and is refuted by a worker that connects."""
        if all(blueprint.batch_of(group).facts.is_everywhere for group in self._groups(blueprint)):
            return
        if (doubt := network.loopback(blueprint.scheduler_host)) is not None:
            yield doubt
        if blueprint.elsewhere is not None:
            # What this host has mounted where says nothing of folders over there.
            return
        yield from folders.unshared(blueprint.home.path, "shared_directory=")
        if blueprint.chosen_log_directory is not None:
            yield from folders.unshared(blueprint.chosen_log_directory, "log_directory=")

    def _of_group(self, blueprint: Blueprint, group: str, finding: Finding) -> Finding:
        """The finding, with the group's name if there are several."""
        if len(blueprint.groups) == 1:
            return finding
        return evolve(finding, subject=f"{finding.subject} (group {group})")

    # --- in jobs ------------------------------------------------------------------------------------------------

    def _of_jobs(self, blueprint: Blueprint, given: Mapping[str, Any], doubts: Sequence[Finding]) -> Iterator[Finding]:
        """Submit a job of each group, one after the other, and look at where it is."""
        from corral.cluster.cluster import Cluster

        here, visiting = self._visiting(blueprint)
        # What is configured is taken from there once more.
        plugins = [*(given.get("plugins") or ()), visiting]
        arguments = {**given, "plugins": plugins, "name": f"doctor-{blueprint.uuid[:8]}", "scheduler": "process"}
        modules = {name: find_spec(name.partition(".")[0]) is not None for name in visiting.question.modules}
        try:
            with _silent(), Cluster(**arguments) as cluster:
                for group in self._groups(blueprint):
                    self.tell(f"waiting for a job{'' if len(blueprint.groups) == 1 else f' of group {group!r}'}")
                    found = visit(cluster, visiting.question, group, self.timeout)
                    for host in found.hosts:
                        self.meet(host)
                    if found.connected is None:
                        yield from doubts
                    for finding in compared.findings(found, here, modules):
                        yield self._of_group(blueprint, group, finding)
                    cluster.scale(jobs=0, group=group)
        except CorralError as error:
            yield _refusal(error)

    def _visiting(self, blueprint: Blueprint) -> tuple[dict[str, str], Visiting]:
        """The packages that are here, and what has jobs tell of theirs."""
        names = [*environment.NEEDED, *environment.USUAL]
        backends = {plugin_of(blueprint, group) for group in self._groups(blueprint)}
        here = environment.installed([*names, *sorted(backends)])
        where = {"shared folder": str(blueprint.home.path)}
        if blueprint.chosen_log_directory is not None:
            where["log folder"] = str(blueprint.log_directory)
        question = Question(packages=list(here), modules=self._modules(blueprint), folders=where)
        drains = [group.drain_seconds or 0.0 for group in blueprint.groups.values()]
        return here, Visiting(question=question, walltime=round(max(WALLTIME, 2 * max(drains))))

    def _modules(self, blueprint: Blueprint) -> list[str]:
        wanted = [name for group in self._groups(blueprint) for name in blueprint.groups[group].preimport]
        return list(dict.fromkeys([*self.modules, *wanted]))


def plugin_of(blueprint: Blueprint, group: str) -> str:
    """The distribution of a group's backend."""
    from corral.plugin import discovery

    backend = blueprint.batch_of(group).backend
    return next(each.distribution for each in discovery.installed() if each.kind == "backend" and each.name == backend)


_ELSEWHERE = Finding(
    subject="scheduler",
    verdict=Verdict.DOUBTFUL,
    text="your configuration puts it into a job, and the doctor has it in its own process: what it says of the address "
    "is about this host",
    cure="Run the doctor in a job as well, or look at `corral logs` of the scheduler's job if that is not reached",
)


def _refusal(error: CorralError) -> Finding:
    """An argument that cannot be used, or a batch system that cannot be chosen."""
    subject, text, cure = "cluster", str(error), "Put right what it says, and run this again"
    if isinstance(error, InvalidRequest):
        subject, text, cure = error.argument, error.problem, f"Change {error.argument}="
    elif isinstance(error, UnknownBackend | PluginError):
        subject, cure = "backend", "`corral backends` says which there are, and why each does not answer"
    elif isinstance(error, BatchSystemError):
        subject = "batch system"
    return Finding(subject=subject, verdict=Verdict.WRONG, text=text, cure=cure)


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
