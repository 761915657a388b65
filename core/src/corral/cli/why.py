"""``corral explain``: why jobs wait, asked of the batch system from any process."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict, evolve, frozen

from corral.cli import completing
from corral.cli.options import cluster_arguments, cluster_options
from corral.cli.patience import ask
from corral.cli.tables import say, say_json
from corral.errors import BatchSystemError, ParseError

if TYPE_CHECKING:
    from corral.batch.client import BatchSystem
    from corral.cluster.registry import Entry, JobLine
    from corral.jobs.explanation import Explanation
    from corral.plugin.values import Job, JobId, JobStatus


@frozen(kw_only=True)
class _Question:
    """One job to be asked about."""

    job: JobId
    batch: BatchSystem
    #: Equal where the same batch system is asked.
    identity: str = ""
    cluster: str = ""
    group: str = ""
    asked: Job | None = None
    #: What its cluster last said of it; None: nothing.
    line: JobLine | None = None


@click.command()
@click.argument("job", required=False, shell_complete=completing.jobs)
@click.option("--cluster", help="Only jobs of this cluster.", shell_complete=completing.clusters)
@cluster_options(
    only=("backend", "backend_options", "site", "site_options", "via"),
    by_default="the one of the cluster that has the job",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per job.")
def explain(job: str | None, cluster: str | None, as_json: bool, **options: Any) -> None:
    """Say why a job waits, and when it may start.

    Without JOB, that is told of the job in each group of your clusters that has waited longest. The batch system is
    asked; JOB may also be one that no cluster of corral's has submitted.
    """
    from corral.cli.commands import registered

    entries = [
        entry for entry in registered() if cluster in (None, entry.name) and options["backend"] in (None, entry.backend)
    ]
    if cluster is not None and not entries:
        raise LookupError(f"no cluster {cluster!r} is registered; see corral ps")
    if job is None:
        questions = [question for entry in entries for question in _waiting(entry)]
    else:
        questions = list(_of_job(job, entries)) or ([] if cluster else [_of_batch_system(job, options)])
        if not questions:
            raise LookupError(f"cluster {cluster!r} has no job {job!r}")
    told = ask(_tell(questions, as_json=as_json))
    if job is None and not as_json:
        _say_rest(entries, told)


async def _tell(questions: Iterable[_Question], *, as_json: bool) -> set[str]:
    """Print the answers one by one, as the command budget may keep the later ones waiting; of which clusters."""
    told = set()
    async for each in _answers(questions):
        told.add(each.cluster)
        if as_json:
            say_json({**asdict(each), "state": each.state.value if each.state else None})
        else:
            say(each.in_lines())
    return told


# --- questions --------------------------------------------------------------------------------------------------


def _waiting(entry: Entry) -> Iterator[_Question]:
    """The first waiting job of each group, or the scheduler's own."""
    if entry.is_waiting and entry.scheduler_job:
        yield from _of_job(entry.scheduler_job, [entry])
        return
    seen: set[str] = set()
    for line in entry.jobs:
        if not line.has_ended and line.state in ("pending", "held") and line.group not in seen:
            seen.add(line.group)
            yield from _of_job(line.id, [entry])


def _where(entry: Entry, job: str) -> tuple[Entry, JobId]:
    """The cluster as the batch system has it that has this job, and the job's id."""
    from corral.plugin.values import JobId

    for each in entry.systems:
        if job.startswith(f"{each.name}:"):
            there = evolve(
                entry, backend=each.backend, backend_options=each.backend_options, site=each.site,
                site_options=each.site_options, site_is_needed=each.site_is_needed,
            )  # fmt: skip
            return there, JobId(job.removeprefix(f"{each.name}:"), system=each.name)
    return entry, JobId(job)


def _of_job(job: str, entries: Iterable[Entry]) -> Iterator[_Question]:
    from corral.remote.locate import Residence

    for entry in entries:
        lines = [line for line in entry.jobs if line.id == job]
        if not lines and entry.scheduler_job != job:
            continue
        there, job_id = _where(entry, job)
        identity = json.dumps(
            [there.backend, there.backend_options, there.site, there.site_options, there.via],
            default=str,
            sort_keys=True,
        )
        batch = evolve(Residence(there).batch, name=job_id.system)
        question = _Question(job=job_id, batch=batch, identity=identity, cluster=entry.name)
        if not lines:
            yield question
        for line in lines:
            asked = entry.asked.get(line.group)
            yield evolve(
                question,
                job=evolve(job_id, where=line.where),
                group=line.group,
                asked=None if asked is None else asked.job(),
                line=line,
            )


def _of_batch_system(job: str, options: dict[str, Any]) -> _Question:
    """A job of which no cluster knows; its batch system is the one named, or the one that answers."""
    from corral.plugin.values import JobId
    from corral.request.drawing import batch_system

    batch, _ = batch_system(cluster_arguments(options))
    return _Question(job=JobId(job), batch=batch)


# --- answers ----------------------------------------------------------------------------------------------------


async def _answers(questions: Iterable[_Question]) -> AsyncIterator[Explanation]:
    """Ask each batch system once how all of its jobs stand, and then of each job that waits, why."""
    began = time.monotonic()
    alike: dict[str, list[_Question]] = {}
    for question in questions:
        alike.setdefault(question.identity, []).append(question)
    for each in alike.values():
        statuses: dict[JobId, JobStatus] = {}
        problem: Exception | None = None
        try:
            statuses |= await each[0].batch.poll([question.job for question in each], urgent=True)
        except (BatchSystemError, ParseError) as error:
            if not each[0].cluster:
                raise
            problem = error
        for question in each:
            if problem is not None:
                yield _unknown(question, f"not known: {problem}")
            elif (status := statuses.get(question.job)) is None:
                yield _unlisted(question)
            else:
                yield await _answer(question, status, began)


async def _answer(question: _Question, status: JobStatus, began: float) -> Explanation:
    from corral.cluster.explaining import explain as asked

    try:
        found = await asked(
            question.batch, question.job, status, asked=question.asked, identity=question.identity, since=began
        )
    except (BatchSystemError, ParseError) as error:
        if not question.cluster:
            raise
        return _unknown(question, f"not known: {error}")
    why, line = found.why, question.line
    if line is not None and not status.state.is_waiting and not status.state.is_final:
        why += f"; {line.workers} of {line.expected_workers} workers are here"
    return evolve(found, cluster=question.cluster, group=question.group, why=why)


def _unlisted(question: _Question) -> Explanation:
    """Of a job that the batch system did not list."""
    backend, line = question.batch.backend, question.line
    if not question.cluster:
        raise LookupError(f"neither your clusters nor {backend} know of a job {question.job}")
    if line is not None and line.has_ended:
        code = "" if line.exit_code is None else f", exit code {line.exit_code}"
        return _unknown(question, f"it has ended ({line.state}{code}), and {backend} does not list it any more")
    return _unknown(question, f"{backend} does not list it any more, or not yet")


def _unknown(question: _Question, why: str) -> Explanation:
    from corral.jobs.explanation import Explanation

    return Explanation(job=question.job.text, cluster=question.cluster, group=question.group, why=why)


def _say_rest(entries: list[Entry], told: set[str]) -> None:
    """What keeps clusters small that have no waiting job."""
    for entry in entries:
        if entry.name not in told:
            why = "; ".join(f"{group}: {because}" for group, because in entry.why.items())
            say(f"cluster {entry.name!r} has no job that waits{f' ({why})' if why else ''}")
    if not entries:
        say("No cluster is registered.")
