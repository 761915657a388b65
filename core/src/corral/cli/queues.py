"""``corral queues``: which queues there are, and which of them takes a job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options_for
from corral.cli.redact import Redaction
from corral.cli.tables import say, show
from corral.errors import InvalidRequest
from corral.text.durations import in_words

if TYPE_CHECKING:
    from corral.batch.client import BatchSystem
    from corral.plugin.values import Job, Queue

#: What a job may ask for that decides about its queue.
_ASKED = ("cores", "memory", "nodes", "gpus", "walltime", "account", "skip_directives")


@click.command()
@cluster_options(only=("backend", "backend_options", "site"))
@worker_options_for(_ASKED)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per queue.")
@click.pass_obj
def queues(redaction: Redaction, /, as_json: bool, **options: Any) -> None:
    """List queues, and say which one takes a job.

    Each is listed with its limits, and with what is free, as far as the batch system says. With options that say what
    a job asks for, also which of them take it, and which one queue="auto" means.
    """
    from corral.request.blueprint import no_queues
    from corral.request.drawing import batch_system
    from corral.request.queues import choose, why_not

    redaction.hide("project", options["account"])
    said = worker_arguments(options)
    batch, arguments = batch_system({**cluster_arguments(options), **said})
    found = sorted(asyncio.run(batch.queues()), key=lambda queue: queue.name)
    if not found:
        raise InvalidRequest("backend", f"there is nothing to list: {no_queues(batch)}")
    redaction.hide("project", *(account for queue in found for account in queue.accounts))
    job = _job(batch, arguments) if said else None
    choice, problem = None, ""
    if job is not None:
        try:
            choice = choose(job, found, nothing="")
        except InvalidRequest as error:
            problem = error.problem
    if as_json:
        for queue in found:
            more = {} if job is None else {"takes_it": not why_not(queue, job), "why_not": why_not(queue, job)}
            is_chosen = {} if job is None else {"is_chosen": choice is not None and choice.queue == queue.name}
            click.echo(json.dumps({**asdict(queue), **more, **is_chosen}))
        return
    _show(found, job)
    if choice is not None:
        say(f'queue="auto" means {choice}')
    elif problem:
        say(f"queue={problem}")


def _job(batch: BatchSystem, arguments: Mapping[str, Any]) -> Job:
    """What a job of a cluster with these arguments asks for; how much memory need not be said."""
    from corral.request.worker_group import WorkerGroup

    group = WorkerGroup(**{name: arguments[name] for name in _ASKED if name in arguments})
    return batch.prepare(group.request(name="asked", log_directory=None, launcher_options=()))


def _show(found: Sequence[Queue], job: Job | None) -> None:
    from dask.utils import format_bytes

    from corral.request.queues import why_not

    def number(value: int | None) -> str:
        return "" if value is None else str(value)

    rows = [
        (
            f"{queue.name or '(no name)'}{' (default)' if queue.is_default else ''}",
            "" if queue.max_walltime is None else in_words(queue.max_walltime),
            ""
            if queue.nodes is None and queue.free_nodes is None
            else f"{number(queue.free_nodes)}/{number(queue.nodes)}",
            number(queue.cores),
            "" if queue.memory is None else format_bytes(queue.memory),
            number(queue.gpus),
            *([] if job is None else [why_not(queue, job) or "yes"]),
            "" if queue.accepts_jobs and queue.starts_jobs else "starts none" if queue.accepts_jobs else "closed",
        )
        for queue in found
    ]
    head = ("queue", "walltime", "free nodes", "cores a node", "memory a node", "GPUs a node")
    takes = () if job is None else ("takes it",)
    show((*head, *takes, "state"), rows, numbers=("free nodes", "cores a node", "memory a node", "GPUs a node"))
