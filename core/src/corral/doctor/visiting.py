"""A small job, and what comes of it: where its worker is, what its node says, how long each part took."""

from __future__ import annotations

import inspect
import json
import shlex
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from corral.doctor import node
from corral.errors import CorralError, WorkersNotReady
from corral.plugin.hookspecs import hookimpl
from corral.plugin.values import Job

if TYPE_CHECKING:
    from corral.cluster.cluster import Cluster
    from corral.jobs.record import JobFailure

#: What begins the lines of the job's output that are for the doctor.
_MARK = "corral-doctor: "
#: No job of the doctor's is longer (s), if its group can live with that.
WALLTIME = 600
#: How often a job is looked at (s).
_GLANCE = 0.1
#: How long a launcher may take to say how it started, when its worker is there (s).
_READY = 5.0


@frozen(kw_only=True)
class Question:
    """What a node is asked."""

    #: Distributions whose versions are wanted, and modules that tasks need.
    packages: Sequence[str] = ()
    modules: Sequence[str] = ()
    #: By what they are for.
    folders: Mapping[str, str] = field(factory=dict)

    @property
    def arguments(self) -> tuple[list[str], list[str], dict[str, str]]:
        return list(self.packages), list(self.modules), dict(self.folders)


@frozen(kw_only=True)
class Visiting:
    """A plugin of the user's: the jobs of its cluster are short, and write what their node says into their output."""

    question: Question
    #: Seconds.
    walltime: int = WALLTIME

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Generator[None, Job, Job]:
        job = yield
        if "-P" not in job.command:
            return job
        python = shlex.join(job.command[: job.command.index("-P")])
        source = inspect.getsource(node).splitlines()
        asking = [
            # A node without this Python says so, and the job goes on to fail as any other would.
            f"{python} - <<'CORRAL_DOCTOR' || true",
            *source,
            "import json",
            f"print({_MARK!r} + json.dumps(look(*json.loads({json.dumps(self.question.arguments)!r}))), flush=True)",
            "CORRAL_DOCTOR",
        ]
        walltime = None if job.walltime is None else min(job.walltime, self.walltime)
        stamp = f'echo "{_MARK}began $(date +%s.%N)"'
        return evolve(job, walltime=walltime, prologue=(stamp, *job.prologue, *asking))


@define(kw_only=True)
class Visit:
    """What came of one job."""

    group: str
    job: str = ""
    #: Seconds from the submission's begin until the batch system had taken it, and until its worker was here.
    submitted: float | None = None
    connected: float | None = None
    #: When that was, in seconds since the epoch.
    began: float = field(factory=time.time)
    #: When the script began, on the node's clock.
    script_began: float | None = None
    #: What the node said; of the worker, if there is one, else of the script.
    facts: dict[str, Any] | None = None
    #: How far the node's clock is ahead, and how uncertain that is (s).
    clock: tuple[float, float] | None = None
    #: The scheduler's address as the worker uses it.
    contact: str = ""
    #: How long the launcher took for what (s).
    launcher: Mapping[str, float] = field(factory=dict)
    #: Why there is no worker: the job's end, an error, or why it waits.
    failure: JobFailure | None = None
    error: CorralError | None = None
    waits: str = ""
    #: It never will start.
    is_hopeless: bool = False
    #: All that the job has printed.
    log: str = ""
    #: Where it was.
    hosts: Sequence[str] = ()


def visit(cluster: Cluster, question: Question, group: str, timeout: float) -> Visit:
    """Have one job of a group, until its worker is here, or will not come.

    Parameters
    ----------
    cluster
        One with `Visiting` among its plugins.
    timeout
        How long to wait for it (s).
    """
    found = Visit(group=group)
    began = time.monotonic()
    try:
        cluster.scale(jobs=1, group=group)
        while found.connected is None and not _is_over(found):
            _look(cluster, found, began)
            if time.monotonic() - began > timeout and not _is_over(found) and found.connected is None:
                _learn_why(cluster, found)
        _read_log(cluster, found)
        if found.connected is not None:
            _ask(cluster, question, found)
    except CorralError as error:
        found.error = error
    return found


def _is_over(found: Visit) -> bool:
    return bool(found.error or found.failure or found.waits)


def _look(cluster: Cluster, found: Visit, began: float) -> None:
    try:
        cluster.wait_for_workers(timeout=_GLANCE, progress=False)
        found.connected = time.monotonic() - began
    except WorkersNotReady:
        pass
    if (jobs := [job for job in cluster.jobs if job.group == found.group]) and found.submitted is None:
        found.job, found.submitted = str(jobs[-1].id), time.monotonic() - began
    failures = [failure for failure in cluster.failures if str(failure.job.id) == found.job]
    if failures and found.connected is None:
        found.failure = failures[-1]  # type: ignore[assignment]  # no worker of it was there to die


def _learn_why(cluster: Cluster, found: Visit) -> None:
    """Ask the batch system why the job waits."""
    try:
        told = cluster.explain()
    except (CorralError, LookupError) as error:
        found.waits = f"{cluster!r}; {error}"
        return
    found.waits = "; ".join(f"job {each.job}: {each.why}" if each.job else each.why for each in told) or repr(cluster)
    found.is_hopeless = any(each.never_starts for each in told)


def _read_log(cluster: Cluster, found: Visit) -> None:
    for job in cluster.jobs:
        if str(job.id) != found.job:
            continue
        found.hosts = job.hosts
        with suppress(LookupError, OSError):
            found.log = cluster.logs(job)
    for line in _marked(found.log):
        if line.startswith("began "):
            with suppress(ValueError):
                found.script_began = float(line.removeprefix("began ").removesuffix(".%N"))
        else:
            with suppress(ValueError):
                found.facts = json.loads(line)
    if found.facts is not None:
        found.hosts = [*found.hosts, str(found.facts["host"])]


def _marked(log: str) -> Iterator[str]:
    return (line.removeprefix(_MARK) for line in log.splitlines() if line.startswith(_MARK))


def rest_of(log: str) -> str:
    """What a job has printed besides what was for the doctor."""
    return "\n".join(line for line in log.splitlines() if not line.startswith(_MARK) and line.strip())


def _ask(cluster: Cluster, question: Question, found: Visit) -> None:
    """Ask the worker itself: it may be in a container, and tells the time at once."""
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        # It is a finding.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        client = Client(cluster)
    with client:
        before = time.time()
        times = client.run(time.time, on_error="ignore")
        after = time.time()
        workers = list(times)
        if workers:
            found.clock = times[workers[0]] - (before + after) / 2, (after - before) / 2
        for facts in client.run(node.look, *question.arguments, workers=workers[:1], on_error="ignore").values():
            found.facts = facts
            found.hosts = [*found.hosts, str(facts["host"])]
        for contact in client.run(_contact, workers=workers[:1], on_error="ignore").values():
            found.contact = contact
        # The launcher says that it is ready a moment after the worker has said that it is there.
        deadline = time.monotonic() + _READY
        while not found.launcher and time.monotonic() < deadline:
            for _, event in client.get_events("corral"):
                if event.get("event") == "ready" and event.get("job") == found.job:
                    found.launcher = event.get("seconds", {})
            time.sleep(_GLANCE)


def _contact(dask_worker: Any) -> str:
    return str(dask_worker.scheduler.address)
