"""Compare policies on every load and every queue: ``nox -s policy``. Takes some minutes on each processor."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
from attrs import evolve, frozen

from corral.scaling.views import PREFERENCES, Rules
from corral.simulation import Corral, Ends, Fixed, Load, Outcome, Queue, distance
from corral.simulation.comparison import POLICIES, Policy, Row, dominators, measure, minutes
from corral.simulation.pictures import draw
from corral.simulation.scenario import ours

#: What is compared besides where jobs end before the work does: corral before it knew how long tasks take.
BEFORE = (
    Policy(title="corral, as it was", make=lambda _: Corral(ends=Ends.DRAINED)),
    Policy(title="fixed size, as it was", make=lambda _: Fixed(ends=Ends.DRAINED)),
)
QUEUES = ("instant", "minutes", "hours", "busy", "limited")
#: Where jobs end before the work does.
QUEUES_OF_SHORT_JOBS = ("twenty",)
#: Loads and queues of which pictures are drawn.
PICTURES = {("bursts", "minutes"), ("mixed", "minutes"), ("session", "hours"), ("tail", "instant")}


#: For each of these, a clairvoyant is asked as well: it takes a quarter of a minute.
FORESEEN = (1,)


@frozen(kw_only=True)
class Pair:
    """What became of a load in a queue."""

    rows: Sequence[Row]
    #: The first run of each policy.
    outcomes: Mapping[str, Outcome]
    #: How many times as long corral took as a clairvoyant at the same core-hours.
    distance: float
    #: Corral's rows by what is preferred.
    preferring: Mapping[str, Row]


def compare(load_name: str, queue_name: str, seeds: int) -> Pair:
    """Try all policies on a load in a queue."""
    load, queue, numbers = Load.read(load_name), Queue.read(queue_name), range(1, seeds + 1)
    policies = [*POLICIES.values(), *(BEFORE if load.walltime < math.inf else ())]
    found = {policy.title: measure(load, queue, policy, numbers) for policy in policies}
    first = {seed: measure(load, queue, POLICIES["corral"], [seed])[1] for seed in FORESEEN}
    rules = Rules(maximum=load.maximum)
    return Pair(
        rows=[row for row, _ in found.values()],
        outcomes={title: outcome for title, (_, outcome) in found.items()},
        distance=distance(load, queue, first),
        preferring={
            name: measure(load, queue, POLICIES["corral"], numbers, evolve(rules, prefer=preference))[0]
            for name, preference in PREFERENCES.items()
        },
    )


def table(pairs: Iterable[Pair]) -> str:
    """All of it, in Markdown."""
    lines = [
        "| load | queue | policy | minutes | × clairvoyant | core-hours | GPU-hours | wasted | lost | jobs "
        "| submissions | cancelled |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for pair in pairs:
        lines += [
            f"| {row.load} | {row.queue} | {row.policy} | {minutes(row)} | "
            f"{f'{pair.distance:.2f}' if row.policy == 'corral' else ''} | {row.core_hours:.1f} | {_gpu_hours(row)} | "
            f"{row.wasted_core_hours:.1f} | {row.lost_core_hours:.1f} ({row.lost_core_hours / row.core_hours:.1%}) | "
            f"{row.submitted:.0f} | {row.requests:.0f} | {row.cancelled:.0f} |"
            for row in pair.rows
        ]
    return "\n".join(lines)


def preferences(pairs: Sequence[Pair]) -> str:
    """What becomes of time and cost with each preference, beside the default: in Markdown."""
    lines = [
        "| queue | prefer | time | core-hours | GPU-hours | jobs |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for queue in dict.fromkeys(pair.rows[0].queue for pair in pairs):
        those = [pair.preferring for pair in pairs if pair.rows[0].queue == queue]
        lines += [
            f"| {queue} | {name} | {_mean(those, name, 'makespan')} | {_mean(those, name, 'core_hours')} | "
            f"{_mean(those, name, 'gpu_hours')} | {_mean(those, name, 'submitted')} |"
            for name in PREFERENCES
        ]
    return "\n".join(lines)


def _mean(rows: Sequence[Mapping[str, Row]], name: str, figure: str) -> str:
    """The geometric mean over all loads of a figure, as a part of what it is by default."""
    parts = [
        getattr(by_name[name], figure) / getattr(by_name["balance"], figure)
        for by_name in rows
        if getattr(by_name["balance"], figure)
    ]
    return f"{math.exp(sum(map(math.log, parts)) / len(parts)):.2f}" if parts else "-"


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Each goal, and whether it is met."""
    goals = {**_goals_of_its_own(rows), **_goals_beside_dask(rows)}
    return [
        f"- {words}: " + "\n  - ".join(["missed", *misses] if misses else ["met"]) for words, misses in goals.items()
    ]


def _goals_of_its_own(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Goals that no single other policy is the measure of, and where each is missed."""
    own = [row for row in rows if row.policy == "corral"]
    beaten = [(row, others) for row in own if (others := dominators(row, rows))]
    return {
        "never dominated, which is when another policy is as fast and as cheap in core-hours and GPU-hours, and better "
        f"in one ({len(own) - len(beaten)} of {len(own)})": [
            f"{row.load}, {row.queue}: {_bill(row)} against "
            + " or ".join(f"{_bill(other)} ({other.policy})" for other in others)
            for row, others in beaten
        ],
        "no more jobs submitted than a cluster that has the largest size anew in every stage": [
            f"{row.load}, {row.queue}: {row.submitted:.0f} against {row.largest:.0f} in each of "
            f"{row.stages * row.renewals}"
            for row in own
            if not row.is_sparing
        ],
        "at most 2 % of core-hours lost to the ends of jobs": [
            f"{row.load}, {row.policy}: {row.lost_core_hours / row.core_hours:.1%}"
            for row in rows
            if _is_ours(row) and _loses(row)
        ],
    }


def _goals_beside_dask(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Goals that Dask's default is the measure of, and where each is missed."""
    by_place = {(row.load, row.queue, row.policy): row for row in rows}
    pairs = [(row, by_place[row.load, row.queue, "Dask"]) for row in rows if row.policy == "corral"]
    return {
        "never worse than Dask's default by more than 5 % in makespan": [
            f"{own.load}, {own.queue}: {own.makespan / dask.makespan - 1:+.0%}"
            for own, dask in pairs
            if own.makespan > 1.05 * dask.makespan
        ],
        "at least 30 % fewer wasted core-hours on bursts": [
            f"{own.queue}: {own.wasted_core_hours / dask.wasted_core_hours - 1:+.0%}"
            for own, dask in pairs
            if own.load.startswith("bursts") and own.wasted_core_hours > 0.7 * dask.wasted_core_hours
        ],
        "jobs cancelled before their start at most a tenth of those of Dask's default, or 1": [
            f"{own.load}, {own.queue}: {own.cancelled:.0f} against {dask.cancelled:.0f}"
            for own, dask in pairs
            if own.cancelled > max(1.0, dask.cancelled / 10)
        ],
        "at least 25 % shorter makespan in slow queues": [
            f"{own.load}, {own.queue}: {own.makespan / dask.makespan - 1:+.0%}"
            for own, dask in pairs
            if own.queue in ("10 minutes", "2 hours") and own.makespan > 0.75 * dask.makespan
        ],
    }


def _bill(row: Row) -> str:
    gpus = "" if row.gpu_hours is None else f" and {_gpu_hours(row)} GPU-hours"
    return f"{minutes(row)} min, {row.core_hours:.0f} core-hours{gpus}"


def _gpu_hours(row: Row) -> str:
    return "-" if row.gpu_hours is None else f"{row.gpu_hours:.1f}"


def _is_ours(row: Row) -> bool:
    return row.policy in ("corral", "fixed size")


def _loses(row: Row) -> bool:
    return row.lost_core_hours > 0.02 * row.core_hours


def _queues_of(load: str) -> Sequence[str]:
    return QUEUES_OF_SHORT_JOBS if Load.read(load).walltime < math.inf else QUEUES


@click.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Where the table and pictures go.")
@click.option("--load", "loads", multiple=True, default=ours("loads"), help="Only this load; may be repeated.")
@click.option("--queue", "queues", multiple=True, help="Only this queue; may be repeated.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, help="How many runs to take the middle of.")
def main(output: Path | None, loads: Sequence[str], queues: Sequence[str], seeds: int) -> None:
    """Compare corral's policy with Dask's and with a fixed size, and its preferences with one another."""
    if output is not None:
        # Before the work, which may take minutes.
        output.mkdir(parents=True, exist_ok=True)
    places = [(load, queue) for load in loads for queue in queues or _queues_of(load)]
    pairs = []
    with ProcessPoolExecutor() as processes:
        for (load, queue), pair in zip(
            places, processes.map(compare, *zip(*places, strict=True), [seeds] * len(places)), strict=True
        ):
            pairs.append(pair)
            sys.stderr.write(f"{load}, {queue}\n")
            if output is not None and (load, queue) in PICTURES:
                draw(pair.outcomes, output / f"policy-{load}-{queue}.svg")
    rows = [row for pair in pairs for row in pair.rows]
    texts = {"policy.txt": f"{table(pairs)}\n\n" + "\n".join(verdicts(rows)), "prefer.txt": preferences(pairs)}
    for name, text in texts.items():
        if output is not None:
            (output / name).write_text(f"<!-- nox -s policy writes this. -->\n\n{text}\n")
        click.echo(f"{text}\n")


if __name__ == "__main__":
    main()
