"""``corral ps`` and ``corral clean``: the clusters that there are, and what killed ones have left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from attrs import asdict

from corral.cli.tables import say, say_json, show
from corral.errors import CorralError, counted
from corral.text.printable import printable

if TYPE_CHECKING:
    from corral.cluster.registry import Entry, JobLine

#: A living cluster writes every minute (s): what is older need not be true any more.
_FRESH = 150.0

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
            say_json({**asdict(entry), **_seen(entry)})
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
                        state_in(entry, job),
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
    import asyncio

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


def state_in(entry: Entry, job: JobLine) -> str:
    """A job's state as its cluster has told it, which need not be so any more."""
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
