"""``corral explain``: why jobs wait, asked of the batch system from any process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict, evolve, frozen

from corral.cli.options import cluster_arguments, cluster_options
from corral.cli.tables import say
from corral.errors import BatchSystemError, ParseError

if TYPE_CHECKING:
    from corral.batch.client import BatchSystem
    from corral.cluster.registry import Entry
    from corral.jobs.explanation import Explanation
    from corral.plugin.values import Job, JobId


@frozen(kw_only=True)
class _Question:
    """One job to be asked about."""

    job: JobId
    batch: BatchSystem
    cluster: str = ""
    group: str = ""
    asked: Job | None = None
    #: Equal where the same queues are told.
    identity: str = ""


@click.command()
@click.argument("job", required=False)
@click.option("--cluster", help="Only jobs of this cluster.")
@cluster_options(only=("backend", "backend_options", "site"), by_default="the one of the cluster that has the job")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per job.")
def explain(job: str | None, cluster: str | None, as_json: bool, **options: Any) -> None:
    """Say why a job waits, and when it may start.

    Without JOB, that is told of the job in each group of your clusters that has waited longest. The batch system is
    asked; JOB may also be one that no cluster of corral's has submitted.
    """
    from corral.cli.commands import registered

    entries = [entry for entry in registered() if cluster in (None, entry.name)]
    if cluster is not None and not entries:
        raise LookupError(f"no cluster {cluster!r} is registered; see corral ps")
    if job is None:
        questions = [question for entry in entries for question in _waiting(entry)]
    else:
        questions = list(_of_job(job, entries)) or ([] if cluster else [_of_batch_system(job, options)])
        if not questions:
            raise LookupError(f"cluster {cluster!r} has no job {job!r}")
    found = asyncio.run(_ask(questions))
    for each in found:
        if as_json:
            click.echo(json.dumps({**asdict(each), "state": each.state.value if each.state else None}))
        else:
            say(str(each))
    if job is None and not as_json:
        _say_rest(entries, {each.cluster for each in found})


def _waiting(entry: Entry) -> Iterator[_Question]:
    """The first waiting job of each group, or the scheduler's own."""
    from corral.cluster.cleanup import batch_of
    from corral.plugin.values import JobId

    if entry.is_waiting and entry.scheduler_job:
        yield _Question(job=JobId(entry.scheduler_job), batch=batch_of(entry), cluster=entry.name)
        return
    seen: set[str] = set()
    for line in entry.jobs:
        if not line.has_ended and line.state in ("pending", "held") and line.group not in seen:
            seen.add(line.group)
            yield from _of_job(line.id, [entry])


def _of_job(job: str, entries: list[Entry]) -> Iterator[_Question]:
    from corral.cluster.cleanup import batch_of
    from corral.plugin.values import JobId

    for entry in entries:
        if entry.scheduler_job == job:
            yield _Question(job=JobId(job), batch=batch_of(entry), cluster=entry.name)
        for line in entry.jobs:
            if line.id == job:
                asked = entry.asked.get(line.group)
                yield _Question(
                    job=JobId(job, where=line.where),
                    batch=batch_of(entry),
                    cluster=entry.name,
                    group=line.group,
                    asked=None if asked is None else asked.job(),
                    identity=json.dumps([entry.backend, entry.backend_options, entry.site], default=str),
                )


def _of_batch_system(job: str, options: dict[str, Any]) -> _Question:
    """A job of which no cluster knows; its batch system is the one named, or the one that answers."""
    from corral.plugin.values import JobId
    from corral.request.drawing import batch_system

    batch, _ = batch_system(cluster_arguments(options))
    return _Question(job=JobId(job), batch=batch)


async def _ask(questions: list[_Question]) -> list[Explanation]:
    return [await _answer(question) for question in questions]


async def _answer(question: _Question) -> Explanation:
    from corral.cluster.explaining import explain as asked
    from corral.jobs.explanation import Explanation

    batch, job_id = question.batch, question.job

    def unknown(why: str) -> Explanation:
        return Explanation(job=job_id.text, cluster=question.cluster, group=question.group, why=why)

    try:
        status = (await batch.poll([job_id], urgent=True)).get(job_id)
        if status is None:
            if not question.cluster:
                raise LookupError(f"neither your clusters nor {batch.backend} know of a job {job_id}")
            return unknown(f"{batch.backend} does not list it any more, or not yet")
        found = await asked(batch, job_id, status, asked=question.asked, identity=question.identity)
        return evolve(found, cluster=question.cluster, group=question.group)
    except (BatchSystemError, ParseError) as error:
        if not question.cluster:
            raise
        return unknown(f"not known: {error}")


def _say_rest(entries: list[Entry], told: set[str]) -> None:
    """What keeps clusters small that have no waiting job."""
    for entry in entries:
        if entry.name not in told:
            why = "; ".join(f"{group}: {because}" for group, because in entry.why.items())
            say(f"cluster {entry.name!r} has no job that waits{f' ({why})' if why else ''}")
    if not entries:
        say("No cluster is registered.")
