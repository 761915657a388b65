"""One function for each command."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options
from corral.cli.redact import Redaction
from corral.cli.tables import say, show, show_file
from corral.errors import CorralError, counted
from corral.text.printable import printable

if TYPE_CHECKING:
    from corral.cluster.registry import Entry, JobLine

#: A living cluster writes every minute (s): what is older need not be true any more.
_FRESH = 150.0

# --- script -----------------------------------------------------------------------------------------------------


@click.command()
@cluster_options()
@worker_options
@click.option("--group", help="Which group's, where the configuration has several; or a site's.")
@click.pass_obj
def script(redaction: Redaction, /, group: str | None, **options: Any) -> None:
    """Print the job script that a cluster would submit.

    Nothing is submitted.
    """
    from corral.request import settings
    from corral.request.blueprint import DEFAULT_GROUP
    from corral.request.drawing import draw

    redaction.hide("project", options["account"])
    given = {**cluster_arguments(options), **worker_arguments(options)}
    if group is not None and group != DEFAULT_GROUP and settings.value("groups", None) is None:
        given["groups"], group = [group], None
    blueprint = draw(given)
    redaction.hide("project", *(each.account for each in blueprint.groups.values()))
    redaction.hide("option", *map(str, blueprint.site_options.values()))
    for choice in blueprint.choices.values():
        say(f'queue="auto" means {choice}', err=True)
    click.echo(str(blueprint.script(group)), nl=False)


# --- what is running --------------------------------------------------------------------------------------------


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per cluster.")
@click.option("--why", is_flag=True, help="Say of each group why it submits or ends jobs, or does neither.")
def ps(as_json: bool, why: bool) -> None:
    """List your clusters and their jobs.

    They are found on all hosts that share your state directory.
    """
    found = registered()
    if as_json:
        for entry in found:
            click.echo(json.dumps({**asdict(entry), **_seen(entry)}))
        return
    if not found:
        click.echo("No cluster is registered.")
        return
    for entry in found:
        say(f"{entry.name}  {_backends(entry)}  {_where(entry)}, {_fate(entry)}")
        living = [job for job in entry.jobs if not job.has_ended]
        if living:
            if _is_old(entry):
                say(f"  last known {_age(entry.age)} ago:")
            show(
                ("job", "group", "phase", "state", "workers", "hosts", "reason"),
                [
                    (
                        job.id,
                        job.group,
                        _phase(entry, job),
                        _state(entry, job),
                        f"{job.workers}/{job.expected_workers}",
                        " ".join(job.hosts),
                        job.reason,
                    )
                    for job in living
                ],
            )
        ended = len(entry.jobs) - len(living)
        if ended:
            say(f"  and {ended} that ended")
        if why:
            _say_why(entry)


def _say_why(entry: Entry) -> None:
    then = f" ({_age(entry.age)} ago)" if _is_old(entry) else ""
    for group, because in entry.why.items():
        say(f"  {printable(group)}: {printable(because)}{then}")


@click.command()
@click.argument("job", required=False)
@click.option("--cluster", help="Name of the cluster, if several have such a job.")
@click.option("--lines", type=click.IntRange(min=1), help="Show only this many of the last lines.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per job.")
def logs(job: str | None, cluster: str | None, lines: int | None, as_json: bool) -> None:
    """Print the log of a job, or list all logs.

    For clusters that have ended, logs of jobs that failed, or whose workers died, are kept for a week.

    In a terminal, control sequences are shown instead of obeyed; a pipe gets the file unchanged.
    """
    from corral.cluster import kept_logs
    from corral.request.carrying import files_of

    ended = [(each.name, line.state, line, (each.via, each.python)) for each in kept_logs.ended() for line in each.jobs]
    living = [
        (entry.name, _state(entry, line), line, (entry.via, entry.python))
        for entry in registered()
        for line in entry.jobs
    ]
    found = [row for row in [*ended, *living] if cluster in (None, row[0])]
    if job is None:
        if not found and not as_json:
            click.echo("No job is registered.")
        for name, state, line, _ in found:
            if as_json:
                click.echo(json.dumps(_log(name, state, line)))
                continue
            say(f"{line.id}  {state}  {name}  {line.log or 'output discarded'}")
        return
    matching = [row for row in found if row[2].id == job]
    if not matching and (of_cluster := [row[2].id for row in found if row[0] == job]):
        raise LookupError(f"{job!r} is a cluster; its jobs: {', '.join(of_cluster[:10])}. Say which: corral logs JOB")
    if not matching:
        known = ", ".join(line.id for _, _, line, _ in found[:10]) or "none"
        raise LookupError(f"no cluster that is registered, or has left logs, has a job {job!r}. Jobs: {known}")
    if len(matching) > 1:
        names = ", ".join(name for name, *_ in matching)
        raise LookupError(f"several clusters have a job {job!r}: {names}. Choose one with --cluster")
    name, state, line, way = matching[0]
    path = line.log
    if path is None:
        raise LookupError(f"the output of job {job} is discarded")
    text = files_of(*way).text(path)
    if lines is not None:
        text = b"".join(text.splitlines(keepends=True)[-lines:])
    if as_json:
        click.echo(json.dumps({**_log(name, state, line), "text": text.decode(errors="replace")}))
        return
    show_file(text)


def _log(cluster: str, state: str, line: JobLine) -> dict[str, Any]:
    return {"job": line.id, "state": state, "cluster": cluster, "group": line.group, "log": line.log}


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done.")
@click.option(
    "--force", is_flag=True,
    help="Treat clusters as dead if they are silent and cannot be checked from here. One that is still alive loses its "
    "jobs.",
)  # fmt: skip
@click.pass_context
def clean(ctx: click.Context, yes: bool, force: bool) -> None:
    """Remove what killed clusters left.

    That is their jobs, credentials and registry files. Live clusters are not touched, nor are those whose state cannot
    be determined from here. The exit code is 1 if something could not be removed.
    """
    from corral.cluster.registry import remove_drafts

    fates = [asyncio.run(_cleaned(entry, yes=yes, force=force)) for entry in registered()]
    if "dead" not in fates and "left" not in fates:
        click.echo("Nothing to clean: no registered cluster is known to have lost its process.")
    elif not yes:
        click.echo("Nothing was done. Say --yes to do it.")
    if yes:
        remove_drafts()
    if "left" in fates:
        ctx.exit(1)


async def _cleaned(entry: Entry, *, yes: bool, force: bool) -> str:
    """Clean up after one cluster, if it is dead; returns "spared", "dead", or "left" if it should be and is not."""
    from corral.cluster import cleanup
    from corral.cluster.cleanup import Fate

    what = f"{entry.name} ({_backends(entry)}, pid {entry.pid} on {entry.host or 'no host yet'})"
    try:
        examined = await cleanup.examine(entry)
        if examined.fate is Fate.LIVES:
            return "spared"
        if examined.fate is Fate.DOUBTFUL and not force:
            say(
                f"{what} is left alone: {examined.why}. It was last heard from {_age(entry.age)} ago. Run corral clean "
                f"on {entry.host}, or say --force if you are sure that it is dead"
            )
            return "spared"
        if not yes:
            job_ids = await cleanup.find(entry)
            files = entry.credentials or "no credentials"
            say(f"would remove {what}, since {examined.why}: cancel {_listed(job_ids)}, remove {files}")
            return "dead"
        outcome = await cleanup.cancel(entry)
        if outcome.is_done:
            await cleanup.remove_files(entry)
    except (CorralError, OSError) as error:
        say(f"{what} is left alone: {error}", err=True)
        return "left"
    done = f"cancelled {_listed(outcome.cancelled)}"
    if not outcome.is_done:
        states = [
            f"{job_id} ({status.state.value if status else 'state not known'})"
            for job_id, status in outcome.left.items()
        ]
        left = f"still in the queue: {_listed(states)}" if states else "others may be left"
        say(f"{what} stays registered: {done}; {left}", err=True)
        if outcome.problem:
            say(f"  The batch system said: {outcome.problem}", err=True)
        return "left"
    say(f"removed {what}: {done}")
    return "dead"


def _listed(job_ids: Sequence[object]) -> str:
    more = " …" if len(job_ids) > 10 else ""
    return f"{counted(len(job_ids), 'job')} {' '.join(map(str, job_ids[:10]))}{more}".rstrip()


def registered() -> list[Entry]:
    """All clusters that left a file; what else is there is told."""
    from corral.cluster.registry import read

    found, odd = read()
    for each in odd:
        say(f"corral: {each}", err=True)
    return found


def _seen(entry: Entry) -> dict[str, object]:
    """What an entry does not say of itself, for programs."""
    return {
        "host": entry.host,
        "pid": entry.pid,
        "sight": entry.look().value,
        "is_gone": entry.process_is_gone(),
        "is_silent": entry.is_silent,
        "age": round(entry.age, 1),
    }


def _is_old(entry: Entry) -> bool:
    """True if what it says of jobs need not be so any more."""
    return not entry.is_waiting and (entry.process_is_gone() or entry.age > _FRESH)


def _fate(entry: Entry) -> str:
    if entry.process_is_gone():
        return "its process is gone; see corral clean"
    if _is_old(entry):
        return f"last heard from {_age(entry.age)} ago"
    return f"since {_age(time.time() - entry.started)}"


def _phase(entry: Entry, job: JobLine) -> str:
    return f"was {job.phase}" if _is_old(entry) and job.phase else job.phase


def _state(entry: Entry, job: JobLine) -> str:
    return f"was {job.state}" if _is_old(entry) and not job.has_ended else job.state


def _backends(entry: Entry) -> str:
    return " and ".join((entry.backend, *(line.name for line in entry.systems)))


def _where(entry: Entry) -> str:
    if entry.is_waiting and entry.via and entry.scheduler_job:
        # What becomes of it is written to the registry over there.
        return f"scheduler in job {entry.scheduler_job}, reached via {entry.via}"
    if entry.is_waiting:
        return f"its scheduler's job {entry.scheduler_job or 'is being submitted'} has not started"
    job = f", scheduler in job {entry.scheduler_job}" if entry.scheduler == "job" else ""
    way = f", jobs via {entry.via}" if entry.via else ""
    return f"on {entry.host}, pid {entry.pid}{job}{way}"


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
