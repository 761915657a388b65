"""``corral queues``: which queues there are, and which of them takes a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options_for
from corral.cli.patience import ask
from corral.cli.redact import Redaction
from corral.cli.tables import say, say_json, show
from corral.errors import InvalidRequest
from corral.text.durations import in_words

if TYPE_CHECKING:
    from corral.plugin.values import Job, Queue

#: What a job may ask for that decides about its queue.
_ASKED = ("cores", "memory", "nodes", "gpus", "walltime", "account", "skip_directives")


@click.command()
@cluster_options(only=("backend", "backend_options", "site", "site_options", "via", "plugins"))
@worker_options_for(_ASKED)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per queue.")
@click.pass_obj
def queues(redaction: Redaction, /, as_json: bool, **options: Any) -> None:
    """List queues, and say which one takes a job.

    Each is listed with its limits, and with what is free, as far as the batch system says. With options that say what
    a job asks for, also which of them take it, and which one queue="auto" means.
    """
    from corral.batch.queues import no_queues, queues_of
    from corral.request.drawing import batch_and_site
    from corral.request.site_queues import choice_for, verdicts

    redaction.hide("project", options["account"])
    said = worker_arguments(options)
    batch, arguments, site = batch_and_site({**cluster_arguments(options), **said})
    found = sorted(ask(queues_of(batch, "")), key=lambda queue: queue.name)
    if not found:
        raise InvalidRequest("backend", f"there is nothing to list: {no_queues(batch)}")
    job = _job(arguments) if said else None
    choice, problem, reasons = None, "", None
    if job is not None:
        reasons = verdicts(job, found, batch.prepare)
        try:
            choice = choice_for(job, found, batch.prepare, site, nothing="")
        except InvalidRequest as error:
            problem = error.problem
    if as_json:
        for queue in found:
            why = None if reasons is None else reasons[queue.name]
            more = {} if why is None else {"takes_it": not why, "why_not": why}
            is_chosen = {} if job is None else {"is_chosen": choice is not None and choice.queue == queue.name}
            say_json({**asdict(queue), **more, **is_chosen})
        return
    _show(found, reasons)
    if choice is not None and not choice.queue:
        say(f'queue="auto": {choice.reason}')
    elif choice is not None:
        # The table says it of the others.
        say(f'queue="auto" means {choice.queue!r}: {choice.reason}')
    elif problem:
        of_site = f": {problem}" if site is not None and site.nodes else ""
        say(f'queue="auto" finds none that takes this job{of_site}')


def _job(arguments: Mapping[str, Any]) -> Job:
    """What a job of a cluster with these arguments asks for; how much memory need not be said."""
    from corral.request.worker_group import WorkerGroup

    group = WorkerGroup(**{name: arguments[name] for name in _ASKED if name in arguments})
    return group.request(name="asked", log_directory=None, launcher_options=())


def _show(found: Sequence[Queue], reasons: Mapping[str, str] | None) -> None:
    from dask.utils import format_bytes

    from corral.request.queues import limits_of_job

    has_limits = any(map(limits_of_job, found))

    def number(value: int | None) -> str:
        return "" if value is None else str(value)

    def state(queue: Queue) -> str:
        return "closed" if not queue.accepts_jobs else "" if queue.starts_jobs else "starts none"

    rows = [
        (
            f"{queue.name or '(no name)'}{'*' if queue.is_default else ''}",
            "" if queue.max_walltime is None else in_words(queue.max_walltime),
            ""
            if queue.nodes is None and queue.free_nodes is None
            else f"{number(queue.free_nodes)}/{number(queue.nodes)}",
            number(queue.cores),
            "" if queue.memory is None else format_bytes(queue.memory),
            number(queue.gpus),
            *([limits_of_job(queue)] if has_limits else []),
            state(queue) if reasons is None else reasons[queue.name] or "yes",
        )
        for queue in found
    ]
    numbers = ("free", "cores", "memory", "GPUs")
    head = ("queue", "walltime", *numbers, *(["a job, in all"] if has_limits else []))
    show((*head, "state" if reasons is None else "takes it"), rows, numbers=numbers)
    default = "* the default; " if any(queue.is_default for queue in found) else ""
    click.echo(f"{default}free nodes of all; cores, memory and GPUs of one")
