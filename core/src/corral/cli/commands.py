"""One function for each command."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options
from corral.cli.redact import Redaction
from corral.cli.tables import say, show, show_file
from corral.errors import BatchSystemError, CorralError

if TYPE_CHECKING:
    from corral.plugins import Installed
    from corral.registry import Entry

# --- script -----------------------------------------------------------------------------------------------------


@click.command()
@cluster_options()
@worker_options
@click.pass_obj
def script(redaction: Redaction, /, **options: Any) -> None:
    """Print the job script that a cluster would submit.

    Nothing is submitted.
    """
    from corral.blueprint import draw

    redaction.hide("project", options["account"])
    blueprint = draw({**cluster_arguments(options), **worker_arguments(options)})
    click.echo(str(blueprint.script()), nl=False)


# --- what is running --------------------------------------------------------------------------------------------


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per cluster.")
def ps(as_json: bool) -> None:
    """List your clusters and their jobs.

    They are found on all hosts that share your state directory.
    """
    from corral.registry import entries

    found = list(entries())
    if as_json:
        for entry in found:
            click.echo(json.dumps({**asdict(entry), "is_gone": entry.process_is_gone()}))
        return
    if not found:
        click.echo("No cluster is registered.")
        return
    for entry in found:
        age = _age(time.time() - entry.started)
        fate = "its process is gone; see corral clean" if entry.process_is_gone() else f"since {age}"
        say(f"{entry.name}  {entry.backend}  {_where(entry)}, {fate}")
        living = [job for job in entry.jobs if not job.has_ended]
        if living:
            show(
                ("job", "group", "state", "workers", "hosts", "reason"),
                [
                    (
                        job.id,
                        job.group,
                        job.state,
                        f"{job.workers}/{job.expected_workers}",
                        " ".join(job.hosts),
                        job.reason,
                    )
                    for job in living
                ],
            )
        ended = len(entry.jobs) - len(living)
        if ended:
            click.echo(f"  and {ended} that ended")


@click.command()
@click.argument("job", required=False)
@click.option("--cluster", help="Name of the cluster, if several have such a job.")
@click.option("--lines", type=click.IntRange(min=1), help="Only so many of the last lines.")
def logs(job: str | None, cluster: str | None, lines: int | None) -> None:
    """Print the log of a job, or list all logs.

    In a terminal, what would move its cursor or change its colours is shown instead; a pipe gets the file as it is.
    """
    from corral.registry import entries

    found = [(entry, line) for entry in entries() if cluster in (None, entry.name) for line in entry.jobs]
    if job is None:
        if not found:
            click.echo("No job is registered.")
        for entry, line in found:
            say(f"{line.id}  {line.state}  {entry.name}  {line.log or 'output discarded'}")
        return
    matching = [(entry, line) for entry, line in found if line.id == job]
    if not matching:
        known = ", ".join(line.id for _, line in found[:10]) or "none"
        raise LookupError(f"no registered cluster has a job {job!r}. Jobs: {known}")
    if len(matching) > 1:
        names = ", ".join(entry.name for entry, _ in matching)
        raise LookupError(f"several clusters have a job {job!r}: {names}. Choose one with --cluster")
    path = matching[0][1].log
    if path is None:
        raise LookupError(f"the output of job {job} is discarded")
    text = Path(path).read_bytes()
    if lines is not None:
        text = b"".join(text.splitlines(keepends=True)[-lines:])
    show_file(text)


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done.")
def clean(yes: bool) -> None:
    """Remove what killed clusters left.

    Those are their jobs, credentials and registry files. Living clusters are not touched.
    """
    from corral import leftovers
    from corral.registry import entries

    dead = [entry for entry in entries() if _is_dead(entry)]
    if not dead:
        click.echo("Nothing to clean: no registered cluster has lost its process.")
        return
    for entry in dead:
        job_ids = asyncio.run(leftovers.find(entry))
        what = f"{entry.name} ({entry.backend}, pid {entry.pid} on {entry.host})"
        jobs = f"{len(job_ids)} job(s) {' '.join(map(str, job_ids[:10]))}".rstrip()
        if not yes:
            say(f"would remove {what}: cancel {jobs}, remove {entry.credentials or 'no credentials'}")
        elif asyncio.run(leftovers.remove(entry, job_ids)):
            say(f"removed {what}: cancelled {jobs}")
        else:
            say(f"left {what} alone: its process is back")
    if not yes:
        click.echo("Nothing was done. Say --yes to do it.")


def _where(entry: Entry) -> str:
    if entry.is_waiting:
        return f"its scheduler's job {entry.scheduler_job or 'is being submitted'} has not started"
    job = f", scheduler in job {entry.scheduler_job}" if entry.scheduler == "job" else ""
    return f"on {entry.host}, pid {entry.pid}{job}"


def _is_dead(entry: Entry) -> bool:
    from corral import leftovers

    try:
        return asyncio.run(leftovers.is_dead(entry))
    except BatchSystemError as error:
        say(f"{entry.name} is left alone: {error}", err=True)
        return False


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# --- plugins ----------------------------------------------------------------------------------------------------


@click.command()
def backends() -> None:
    """List backends, and whether their batch systems answer here.

    Those that could be installed are listed too.
    """
    from corral import plugins
    from corral.runner import Runner

    here = asyncio.run(plugins.detect_all(Runner(timeout=10.0)))
    rows = []
    for backend in plugins.usable("backend"):
        detected = here.get(backend.name)
        found = "this machine" if backend.name == "local" else "not found here"
        rows.append(
            (
                backend.name,
                f"{backend.distribution} {backend.version}",
                detected.version if detected else found,
                _tried(backend),
            )
        )
    installed = {row[0] for row in rows}
    for name, distribution in plugins.WELL_KNOWN.items():
        if distribution == f"corral-{name}" and name not in installed:
            rows.append((name, f"pip install {distribution}", "", ""))
    show(("backend", "plugin", "batch system", "run for real against"), sorted(rows))


def _tried(backend: Installed) -> str:
    """What the plugin's author ran it against."""
    try:
        return str(getattr(backend.make({}), "tried", "not said"))
    except CorralError as error:
        return f"cannot be used: {error}"
