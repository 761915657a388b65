"""``corral waits``: how long jobs have waited in the batch system's queues, for people and for the simulator."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import click

from corral.cli import completing
from corral.cli.tables import say, say_json, show
from corral.errors import InvalidRequest, counted
from corral.scaling.history import Summary
from corral.text.durations import in_words


@click.command()
@click.option("--backend", shell_complete=completing.backends, help="Only of this batch system.")
@click.option("--queue", help="Only of this queue; an empty name is the batch system's default.")
@click.option("--toml", "as_toml", is_flag=True, help="Write the waits of one queue as a file for the simulator.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per queue.")
@click.option("--forget", is_flag=True, help="Remove all that is remembered.")
def waits(backend: str | None, queue: str | None, as_toml: bool, as_json: bool, forget: bool) -> None:
    """Show how long your jobs have waited.

    That is what adaptive scaling begins with: each cluster remembers how long its jobs waited, for a month, in your
    state directory. "remember-waits: false" in the configuration switches that off.
    """
    from corral.cluster import kept_waits
    from corral.scaling.history import summaries

    if forget:
        say(f"Forgotten: {counted(kept_waits.forget(), 'wait')}.")
        return
    found = [
        each
        for each in summaries(kept_waits.read(), time.time())
        if backend in (None, each.backend) and queue in (None, each.queue)
    ]
    if as_toml:
        click.echo(queue_file(_the_only(found)), nl=False)
    elif as_json:
        for each in found:
            say_json(_plain(each))
    elif found:
        _show(found)
    else:
        say("No waits are remembered of jobs of the last 30 days.")


def _show(found: Sequence[Summary]) -> None:
    has_servers = any(each.server for each in found)
    head = ("backend", "queue", "jobs", "a quarter within", "half within", "three quarters within", "start-up")
    show(
        (*head, "server") if has_servers else head,
        [
            (
                each.backend,
                each.queue or "(default)",
                str(len(each.waits)),
                *(in_words(each.waited(part)) for part in (0.25, 0.5, 0.75)),
                "not seen" if each.start_up is None else in_words(each.start_up),
                *([each.server] if has_servers else []),
            )
            for each in found
        ],
    )
    for each in found:
        for advice in each.advice:
            say(f"{each.backend}: {advice}")


def _plain(summary: Summary) -> dict[str, Any]:
    quarter, half, most = (summary.waited(part) for part in (0.25, 0.5, 0.75))
    return {
        "backend": summary.backend,
        "queue": summary.queue,
        "server": summary.server,
        "jobs": len(summary.waits),
        "quartiles": [quarter, half, most],
        "start_up": summary.start_up,
        "advice": [str(each) for each in summary.advice],
    }


def _the_only(found: Sequence[Summary]) -> Summary:
    if not found:
        raise LookupError("no waits of such jobs are remembered of the last 30 days; corral waits shows what is")
    if len(found) > 1:
        names = "; ".join(f"--backend {each.backend} --queue {each.queue!r}" for each in found)
        raise InvalidRequest("queue", f"a file is of one queue, and there are waits of several. Choose: {names}")
    return found[0]


def queue_file(summary: Summary) -> str:
    """A queue of the simulator that makes jobs wait as these did: see `corral.simulation.scenario`."""
    name = f"{summary.backend}, {summary.queue or 'default queue'}"
    start_up = "" if summary.start_up is None else f"start_up = {summary.start_up:.1f}\n"
    numbers = [f"{waited:.0f}," for waited in summary.trace()]
    rows = [" ".join(numbers[at : at + 15]) for at in range(0, len(numbers), 15)]
    trace = "".join(f"    {row}\n" for row in rows)
    # A TOML string escapes what a JSON string does.
    return (
        f"# How long {counted(len(numbers), 'job')} waited until they started, in the order of their submissions.\n"
        f"title = {json.dumps(name, ensure_ascii=False)}\n{start_up}trace = [\n{trace}]\n"
    )
