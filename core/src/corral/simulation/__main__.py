"""Compare policies on every load and every queue: ``nox -s policy``."""

from __future__ import annotations

import bisect
import importlib
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from attrs import frozen

from corral.simulation import Corral, Dask, Ends, Fixed, Load, Outcome, Queue, simulate
from corral.simulation.scenario import ours
from corral.simulation.world import LIMIT, Controller

POLICIES: Mapping[str, Callable[[], Controller]] = {
    "corral": Corral,
    "Dask": Dask,
    "Dask, wait_count=60": lambda: Dask(wait_count=60),
    "fixed size": Fixed,
}
#: What is compared besides where jobs end before the work does: corral before it knew how long tasks take.
BEFORE: Mapping[str, Callable[[], Controller]] = {
    "corral, as it was": lambda: Corral(ends=Ends.DRAINED),
    "fixed size, as it was": lambda: Fixed(ends=Ends.DRAINED),
}
QUEUES = ("instant", "minutes", "hours", "limited")
#: Where jobs end before the work does.
QUEUES_OF_SHORT_JOBS = ("twenty",)
#: Loads and queues of which pictures are drawn.
PICTURES = {("bursts", "minutes"), ("mixed", "minutes"), ("session", "hours"), ("tail", "instant")}
#: What a policy does in one queue depends on chance: this many are taken, and the middle.
SEEDS = (1, 2, 3)


@frozen(kw_only=True)
class Row:
    """One policy on one load in one queue: the middle of several runs."""

    load: str
    queue: str
    policy: str
    makespan: float
    core_hours: float
    wasted: float
    lost: float
    submitted: float
    requests: float
    cancelled: float


def measure(load: Load, queue: Queue, policy: str) -> tuple[Row, Outcome]:
    """Run it a few times."""
    found = [simulate(load, queue, {**POLICIES, **BEFORE}[policy](), seed=seed) for seed in SEEDS]

    def middle(name: str) -> float:
        return float(statistics.median(getattr(outcome, name) for outcome in found))

    row = Row(
        load=load.title,
        queue=queue.title,
        policy=policy,
        makespan=middle("makespan"),
        core_hours=middle("core_hours"),
        wasted=middle("wasted_core_hours"),
        lost=middle("lost_core_hours"),
        submitted=middle("submitted"),
        requests=middle("requests"),
        cancelled=middle("cancelled"),
    )
    return row, found[0]


def table(rows: Sequence[Row]) -> str:
    """All of it, in Markdown."""
    lines = [
        "| load | queue | policy | makespan (min) | core-hours | wasted | lost | jobs | requests | cancelled waiting |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.load} | {row.queue} | {row.policy} | {_minutes(row)} | {row.core_hours:.1f} | "
        f"{row.wasted:.1f} | {row.lost:.1f} ({row.lost / row.core_hours:.1%}) | "
        f"{row.submitted:.0f} | {row.requests:.0f} | {row.cancelled:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Each goal, and whether it is met."""
    by_place = {(row.load, row.queue, row.policy): row for row in rows}
    pairs = [(row, by_place[row.load, row.queue, "Dask"]) for row in rows if row.policy == "corral"]
    found = []

    def goal(words: str, misses: Sequence[str]) -> None:
        found.append(f"- {words}: " + ("met" if not misses else "missed: " + "; ".join(misses)))

    goal(
        "at most 2 % of core-hours lost to the ends of jobs",
        [f"{row.load}, {row.policy}: {row.lost / row.core_hours:.1%}" for row in rows if _is_ours(row) and _loses(row)],
    )
    goal(
        "never worse than Dask's default by more than 5 % in makespan",
        [
            f"{own.load}, {own.queue}: {own.makespan / dask.makespan - 1:+.0%}"
            for own, dask in pairs
            if own.makespan > 1.05 * dask.makespan
        ],
    )
    goal(
        "at least 30 % fewer wasted core-hours on bursts",
        [
            f"{own.queue}: {own.wasted / dask.wasted - 1:+.0%}"
            for own, dask in pairs
            if own.load.startswith("bursts") and own.wasted > 0.7 * dask.wasted
        ],
    )
    goal(
        "jobs cancelled before their start at most a tenth of those of Dask's default, or 1",
        [
            f"{own.load}, {own.queue}: {own.cancelled:.0f} against {dask.cancelled:.0f}"
            for own, dask in pairs
            if own.cancelled > max(1.0, dask.cancelled / 10)
        ],
    )
    goal(
        "at least 25 % shorter makespan in slow queues",
        [
            f"{own.load}, {own.queue}: {own.makespan / dask.makespan - 1:+.0%}"
            for own, dask in pairs
            if own.queue in ("10 minutes", "2 hours") and own.makespan > 0.75 * dask.makespan
        ],
    )
    return found


def _minutes(row: Row) -> str:
    return f"{row.makespan / 60:.0f}" if row.makespan < LIMIT else f"> {LIMIT / 60:.0f}"


def _is_ours(row: Row) -> bool:
    return row.policy in ("corral", "fixed size")


def _loses(row: Row) -> bool:
    return row.lost > 0.02 * row.core_hours


def draw(name: str, outcomes: Mapping[str, Outcome], folder: Path) -> None:
    """Jobs over time, one picture for a load and a queue."""
    # Wanted for this alone; its types are nobody's business here.
    mpl = importlib.import_module("matplotlib")
    mpl.use("svg")
    # Otherwise every run would draw the same picture in other bytes.
    mpl.rcParams.update({"svg.hashsalt": "corral", "svg.fonttype": "none"})
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(len(outcomes), sharex=True, sharey=True, figsize=(8, 1.6 * len(outcomes)))
    for axis, (policy, outcome) in zip(axes, outcomes.items(), strict=True):
        history = _thinned(outcome)
        minutes = [moment / 60 for moment, _, _ in history]
        connected = [count for _, count, _ in history]
        waiting = [count + more for _, count, more in history]
        axis.fill_between(minutes, waiting, step="post", color="#d9d9d9", label="waiting")
        axis.fill_between(minutes, connected, step="post", color="#2c7fb8", label="working")
        axis.set_title(f"{policy}: {outcome.makespan / 60:.0f} min, {outcome.wasted_core_hours:.0f} core-hours wasted")
        axis.title.set_fontsize(9)
        axis.set_ylabel("jobs")
    axes[0].legend(loc="upper right", fontsize=8)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(folder / f"policy-{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def _thinned(outcome: Outcome, points: int = 160) -> list[tuple[float, int, int]]:
    """As many points of the history as an eye can tell apart."""
    moments = [moment for moment, _, _ in outcome.history]
    steps = [outcome.makespan * step / points for step in range(points + 1)]
    return [(step, *outcome.history[max(0, bisect.bisect_right(moments, step) - 1)][1:]) for step in steps]


@click.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Where the table and pictures go.")
@click.option("--load", "loads", multiple=True, default=ours("loads"), help="Only this load; may be repeated.")
@click.option("--queue", "queues", multiple=True, help="Only this queue; may be repeated.")
def main(output: Path | None, loads: Sequence[str], queues: Sequence[str]) -> None:
    """Compare corral's policy with Dask's and with a fixed size."""
    if output is not None:
        # Before the work, which may take minutes.
        output.mkdir(parents=True, exist_ok=True)
    rows = []
    for load_name in loads:
        load = Load.read(load_name)
        is_short = load.walltime < math.inf
        for queue_name in queues or (QUEUES_OF_SHORT_JOBS if is_short else QUEUES):
            queue = Queue.read(queue_name)
            outcomes = {}
            for policy in sorted({**POLICIES, **BEFORE}) if is_short else POLICIES:
                row, outcomes[policy] = measure(load, queue, policy)
                rows.append(row)
                sys.stderr.write(f"{row.load}, {row.queue}, {row.policy}\n")
            if output is not None and (load_name, queue_name) in PICTURES:
                draw(f"{load_name}-{queue_name}", outcomes, output)
    words = "\n".join(["<!-- nox -s policy writes this. -->", "", table(rows), "", *verdicts(rows), ""])
    if output is not None:
        (output / "policy.txt").write_text(words)
    click.echo(words)


if __name__ == "__main__":
    main()
