"""``corral simulate``: what scaling policies would do with a load in a queue, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict, evolve

from corral.cli.tables import say, say_json, show
from corral.errors import InvalidRequest, counted

if TYPE_CHECKING:
    from corral.scaling.views import Rules
    from corral.simulation import Load, Queue
    from corral.simulation.comparison import Row

#: As in `corral.simulation.comparison`, which is not imported for --help: it imports distributed.
POLICIES = ("corral", "dask", "dask-60", "fixed")
#: What `Cluster.adapt` is asked, too, and reads: these options have the names of its arguments.
ADAPT = ("prefer", "gpu_price", "target_duration", "idle_timeout")


@click.command()
@click.argument("load", required=False)
@click.argument("queue", required=False)
@click.option(
    "--policy", "policies", multiple=True, type=click.Choice(POLICIES),
    help="Only this policy: corral's, Dask's adaptive scaling, the same with wait_count=60, or a fixed size. May be "
    "repeated.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True,
    help="How many runs to take the median of: what a queue does depends on chance.",
)  # fmt: skip
@click.option("--maximum", type=click.IntRange(min=1), help="The most jobs at a time, for all policies.")
@click.option("--walltime", help="The walltime of jobs. A queue may allow less.")
@click.option("--prefer", help="As in Cluster.adapt, for corral's policy: speed, balance, cost, or a number.")
@click.option("--gpu-price", type=float, help="As in Cluster.adapt, for corral's policy.")
@click.option("--target-duration", help="As in Cluster.adapt, for corral's policy.")
@click.option("--idle-timeout", help="As in Cluster.adapt, for corral's policy.")
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the jobs of each policy's first run into this file, which ends in .svg, .png or .pdf. Needs matplotlib.",
)  # fmt: skip
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False),
    help="Write LOAD into this TOML file, to be looked at and changed. QUEUE can be left out.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per policy, times in seconds.")
def simulate(
    load: str | None, queue: str | None, policies: Sequence[str], seeds: int, picture: Path | None,
    save: Path | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Try scaling policies on a load in a queue.

    Without LOAD and QUEUE, the loads and queues that come with corral are listed. Both can also be TOML files of your
    own. LOAD can also be a Dask performance report, or what client.get_task_stream() returned, saved as JSON: which
    tasks waited for others is then guessed, and --save writes down the guess.

    The table says how long all work took, what the jobs cost, how much of that was wasted because no task ran to
    completion, and how much of the waste was due to jobs ending. Then come the numbers of submitted jobs, of
    submissions, and of jobs that were cancelled before they started.
    """
    if load is None:
        _list(as_json)
        return
    from corral.simulation import Queue
    from corral.simulation.pictures import matplotlib
    from corral.simulation.recorded import load_of

    found = _adjusted(load_of(load), options)
    if save is not None:
        _save(found, load, save)
    if queue is None:
        if save is not None:
            return
        raise InvalidRequest("queue", f"say in which queue, after the load: {', '.join(_names('queues'))}, or a file")
    place = Queue.read(queue)
    rules = _rules(found, options)
    if picture is not None:
        # Before the work, which may take minutes.
        matplotlib(picture)
    rows = _compare(found, place, policies or POLICIES, seeds, rules, picture)
    if as_json:
        for row in rows.values():
            say_json({**asdict(row), "is_done": row.is_done})
        return
    say(f"{found.title}: {_size(found)}")
    say(f"queue: {place.title}; {f'the median of {seeds} runs' if seeds > 1 else 'one run'}")
    click.echo()
    _show(rows)


# --- what there is ----------------------------------------------------------------------------------------------


def _names(what: str) -> list[str]:
    from corral.simulation.files import ours

    return ours(what)


def _list(as_json: bool) -> None:
    from corral.simulation import Load, Queue

    known = {
        "load": {name: Load.read(name).title for name in _names("loads")},
        "queue": {name: Queue.read(name).title for name in _names("queues")},
    }
    for what, titles in known.items():
        if as_json:
            for name, title in titles.items():
                say_json({"what": what, "name": name, "title": title})
            continue
        show((what, "title"), list(titles.items()))
        click.echo()
    if not as_json:
        say("corral simulate LOAD QUEUE tries scaling policies on one of each; either may be a file of your own.")


# --- what was asked for -----------------------------------------------------------------------------------------


def _adjusted(load: Load, options: Mapping[str, Any]) -> Load:
    """The load, with jobs as they were asked for."""
    from corral.request.quantities import parse_walltime

    if options["walltime"] is not None:
        load = evolve(load, walltime=float(parse_walltime("walltime", options["walltime"])))
    if options["maximum"] is not None:
        load = evolve(load, maximum=options["maximum"], fixed=min(load.fixed, options["maximum"]))
    return load


def _save(load: Load, name: str, path: Path) -> None:
    """Write the load into a new file."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(load.toml(f"Made from {Path(name).name!r} by corral simulate; see corral.simulation.scenario."))
    except FileExistsError:
        raise InvalidRequest("save", f"{path} exists already; name another file, or remove it") from None
    say(f"wrote {path}: {_size(load)}", err=True)


def _rules(load: Load, options: Mapping[str, Any]) -> Rules:
    """What corral's policy is to keep to, read as `Cluster.adapt` reads it."""
    from corral.scaling.bounds import rules_of

    given = {name: options[name] for name in ADAPT if options[name] is not None}
    rules, _ = rules_of(given)
    return evolve(rules, minimum=0, maximum=load.maximum)


# --- the table --------------------------------------------------------------------------------------------------


def _compare(
    load: Load, queue: Queue, policies: Sequence[str], seeds: int, rules: Rules, picture: Path | None
) -> dict[str, Row]:
    """Run each policy; the rows by the policies' names."""
    from rich.console import Console

    from corral.simulation.comparison import POLICIES as MADE
    from corral.simulation.comparison import measure
    from corral.simulation.pictures import draw

    rows, outcomes = {}, {}
    for name in dict.fromkeys(policies):
        policy = MADE[name]
        # Seen in a terminal alone.
        with Console(stderr=True).status(f"{policy.title} …"):
            rows[name], outcomes[policy.title] = measure(load, queue, policy, range(1, seeds + 1), rules)
    if picture is not None:
        draw(outcomes, picture, f"{load.title}, queue: {queue.title}")
    return rows


def _size(load: Load) -> str:
    """How much there is to be computed, and on what."""
    tasks = [tasks for step in load.steps for stage in step.stages for tasks in stage]
    stages = sum(len(step.stages) for step in load.steps)
    steps = f"{counted(len(load.steps), 'step')}, " if len(load.steps) > 1 else ""
    kinds = ", or of ".join(
        counted(kind.cores, "core") + (f" and {counted(kind.gpus, 'GPU')}" if kind.gpus else "") for kind in load.kinds
    )
    walltime = "" if load.walltime == math.inf else f", for {_spoken(load.walltime)}"
    return (
        f"{sum(each.count for each in tasks):,} tasks in {steps}{counted(stages, 'stage')}; jobs of {kinds}{walltime}"
    )


def _spoken(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds / 60:.3g} min"


def _show(rows: Mapping[str, Row]) -> None:
    from corral.simulation.comparison import minutes

    has_gpus = any(row.gpu_hours is not None for row in rows.values())
    cost = ["core-hours", *["GPU-hours"] * has_gpus, "wasted", "lost"]
    head = ["policy", "minutes", *cost, "jobs", "submissions", "cancelled"]
    digits = 1 if max(row.core_hours for row in rows.values()) >= 10 else 2
    table = [
        [
            row.policy,
            minutes(row),
            f"{row.core_hours:.{digits}f}",
            *[f"{row.gpu_hours or 0:.{digits}f}"] * has_gpus,
            f"{row.wasted_core_hours:.{digits}f}",
            f"{row.lost_core_hours:.{digits}f}",
            f"{row.submitted:.0f}",
            f"{row.requests:.0f}",
            f"{row.cancelled:.0f}",
        ]
        for row in rows.values()
    ]
    show(head, table, numbers=head[1:])
    for sentence in filter(None, (unfinished(rows), verdict(rows))):
        click.echo()
        say(sentence)


def unfinished(rows: Mapping[str, Row]) -> str:
    """Who was not done, by the names of policies; empty: all were."""
    titles = "; ".join(row.policy for row in rows.values() if not row.is_done)
    why = "After five days the simulation ends. Perhaps tasks do not fit into the walltime of jobs"
    return f"Not done: {titles}. {why}." if titles else ""


def verdict(rows: Mapping[str, Row]) -> str:
    """Whether another policy is the one to choose, by the names of policies; empty: there is nothing to compare."""
    from corral.simulation.comparison import dominators

    own = rows.get("corral")
    if own is None or len(rows) == 1:
        return ""
    better = "; ".join(row.policy for row in dominators(own, rows.values()))
    if better:
        return f"As fast and as cheap as corral, and better in time or cost: {better}."
    return "None of the others is as fast and as cheap as corral, and better in time or cost."
