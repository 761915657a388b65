"""``corral report``: a cluster after the fact, or while it runs, as a page to read and to send."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from attrs import asdict

from corral.cli.redact import Redaction
from corral.cli.tables import say, show
from corral.errors import counted, did_you_mean

if TYPE_CHECKING:
    from corral.view.history import History
    from corral.view.journals import Listed


@click.command()
@click.argument("name", required=False)
@click.option("--output", metavar="FILE", help="Where to write the page; - is the terminal. Default: NAME-report.html.")
@click.option("--uuid", help="Of several clusters of this name, the one whose uuid begins so. Default: the newest.")
@click.option(
    "--json", "as_json", is_flag=True, help="For programs: all that is known, or one JSON object per cluster."
)
@click.option("--forget", is_flag=True, help="Remove the journal instead; without NAME, those of all that have ended.")
@click.pass_context
def report(
    ctx: click.Context, name: str | None, output: str | None, uuid: str | None, as_json: bool, forget: bool
) -> None:
    """Write a report of a cluster that runs or has ended.

    It is one page of HTML: what became of each job, workers over time, how long jobs waited, what was used, and what
    failed. Without NAME, list the clusters of which there can be one: the last 100, for 90 days.

    "journal: false" in the configuration turns off what it is made of.
    """
    from corral.cluster.reporting import write_page, write_report
    from corral.view import journals

    found, odd = journals.listed()
    for each in odd:
        say(f"corral: {each}", err=True)
    if forget:
        _forget(found, name, uuid)
        return
    if name is None:
        _list(found, as_json=as_json)
        return
    chosen = _choose(found, name, uuid)
    history = journals.read(chosen.head.uuid)
    if ctx.parent is not None and ctx.parent.params.get("redact"):
        history = _redacted(history, ctx.obj)
    standing = _standings([chosen])[0]
    if as_json:
        text = json.dumps({**asdict(history), "standing": standing})
        click.echo(text) if output in (None, "-") else write_page(output, f"{text}\n")
    elif output == "-":
        from corral.view.report import report as page

        click.echo(page(history, standing=standing, made=time.time()), nl=False)
    else:
        say(f"Written to {write_report(output or _file_name(name), history, standing)}.")


def _redacted(history: History, redaction: Redaction) -> History:
    """The same without names: what goes into a file is not filtered on its way."""
    from corral.view.plain import retold

    overview = history.overview
    redaction.hide("host", *(host for job in overview.jobs for host in job.hosts))
    redaction.hide("host", *(host for failure in overview.failures for host in failure.hosts))
    redaction.hide("host", history.head.host, history.head.via.rpartition("/")[2])
    return retold(history, redaction)


def _choose(found: Sequence[Listed], name: str, uuid: str | None) -> Listed:
    """The newest of this name, or the one that is meant; others are told."""
    named = [each for each in found if each.head.name == name]
    if not named:
        known = sorted({each.head.name for each in found})
        there = did_you_mean(name, known) or (f" There are: {', '.join(known[:10])}." if known else "")
        raise LookupError(f"there is no journal of a cluster {name!r}.{there}")
    if uuid is not None:
        named = [each for each in named if each.head.uuid.startswith(uuid)]
        if len(named) != 1:
            raise LookupError(
                f"{len(named) or 'no'} journals of clusters {name!r} have a uuid that begins with {uuid!r}"
            )
    elif len(named) > 1:
        from corral.view.amounts import moment

        others = "; ".join(f"--uuid {each.head.uuid[:8]} began {moment(each.head.began)}" for each in named[1:6])
        more = "" if len(named) <= 6 else " …"
        say(f"This is the newest of {len(named)} clusters of this name. The others: {others}{more}", err=True)
    return named[0]


def _forget(found: Sequence[Listed], name: str | None, uuid: str | None) -> None:
    from corral.view import journals
    from corral.view.report import RUNNING

    # One that lives would begin its own anew.
    ended = [each for each, stands in zip(found, _standings(found), strict=True) if stands != RUNNING]
    chosen = ended if name is None else [_choose(found, name, uuid)]
    say(f"Forgotten: {counted(journals.forget([each.head.uuid for each in chosen]), 'journal')}.")


def _list(found: Sequence[Listed], *, as_json: bool) -> None:
    from corral.view.amounts import duration, hours, moment

    stands = _standings(found)
    if as_json:
        for each, standing in zip(found, stands, strict=True):
            click.echo(json.dumps({**asdict(each), "standing": standing}))
        return
    if not found:
        say("There are no journals: no cluster has run in the last 90 days, or they are turned off (journal: false).")
        return
    rows = []
    for each, standing in zip(found, stands, strict=True):
        head, last = each.head, each.sample
        row = [head.name, head.backend, moment(head.began)]
        row += [duration((last.moment if last else each.written) - head.began)]
        row += ["", "", "", ""] if last is None else _figures(last.jobs, last.failures, last.peak)
        row[7:] = [hours(last.core_hours) if last else "", standing, head.uuid[:8]]
        rows.append(row)
    columns = ("cluster", "backend", "began", "lasted", "jobs", "failures", "workers", "core-hours", "stands", "uuid")
    show(columns, rows, numbers=("jobs", "failures", "workers", "core-hours"))
    say("corral report NAME writes a page about one.")


def _figures(*numbers: int) -> list[str]:
    return [f"{number:,}" for number in numbers]


def _standings(found: Sequence[Listed]) -> list[str]:
    from corral.cluster.registry import read
    from corral.cluster.reporting import standing_in
    from corral.view.report import ENDED

    entries = {entry.uuid: entry for entry in read()[0]}
    return [ENDED if each.is_closed else standing_in(entries.get(each.head.uuid)) for each in found]


def _file_name(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "_", name).lstrip(".")
    return f"{plain[:100] or 'cluster'}-report.html"
