"""``corral ps``: the clusters that there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from attrs import asdict

from corral.cli.tables import say, say_json, show
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
        say(f"{entry.name}  {backends_of(entry)}  {_where(entry)}, {_fate(entry)}")
        living = [job for job in entry.jobs if not job.has_ended]
        if living:
            if _is_old(entry):
                say(f"  last known {age(entry.age)} ago:")
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
    then = f" ({age(entry.age)} ago)" if _is_old(entry) else ""
    for group, because in entry.why.items():
        say(f"  {printable(group)}: {printable(because)}{then}")


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
        return f"last heard from {age(entry.age)} ago"
    return f"since {age(time.time() - entry.started)}"


def _phase(entry: Entry, job: JobLine) -> str:
    return f"was {job.phase}" if _is_old(entry) and job.phase else job.phase


def state_in(entry: Entry, job: JobLine) -> str:
    """A job's state as its cluster has told it, which need not be so any more."""
    return f"was {job.state}" if _is_old(entry) and not job.has_ended else job.state


def backends_of(entry: Entry) -> str:
    """The batch systems in which it has jobs, in words."""
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


def age(seconds: float) -> str:
    """How old something is, in the largest unit that it fills."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
