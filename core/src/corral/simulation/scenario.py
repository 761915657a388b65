"""Loads and queues, and the files that describe them.

A load says what is computed. Steps follow one another, each some seconds after the previous one has ended, like a
person or a script that continues once the results are there. A step has stages, each of which begins when the previous
one has ended, as in a graph of tasks. ::

    title = "Bursts with pauses"
    fixed = 50                  # jobs of a cluster of fixed size, for comparison
    maximum = 50                # the most jobs of one that adapts; left out: any number
    walltime = 7200             # seconds; left out: the queue's

    [[kinds]]                   # kinds of jobs; each job has one worker
    name = "cpu"
    cores = 4
    resources = { cpu = 4 }

    [[steps]]
    repeat = 10
    pause = 30                  # seconds
    [[steps.stages]]
    tasks = [{ name = "simulate", count = 400, seconds = 20, spread = 0.2, need = { cpu = 1 } }]

`seconds` is the median of a task's duration and `spread` the standard deviation of its logarithm. Dask takes tasks with
the same name to be alike: what one takes, the others are expected to take. `expected` is what the user says about them
(``dask.annotate(expected_duration=…)``); left out, it is learnt.

A queue says how long jobs wait. ::

    title = "Ten minutes"
    median = 600                # seconds
    spread = 0.5
    start_up = 30               # seconds from the start of a job to its worker
    running = 20                # jobs that may run at the same time; left out: any number
    failing = 0.01              # part of the jobs that die while they start
    walltime = 86400

Instead of `median` and `spread`, `trace = [10, 3000, 20]` gives the waits themselves, one job after another.
"""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from corral.scaling.workload import Kind, Need

_HERE = Path(__file__).parent


@frozen(kw_only=True)
class Tasks:
    """Tasks that are alike."""

    name: str
    count: int
    seconds: float
    spread: float = 0.0
    need: Need = ()
    #: Seconds that the user says one takes; None: nothing is said.
    expected: float | None = None


@frozen(kw_only=True)
class Step:
    """What is computed at once, stage by stage."""

    pause: float = 0.0
    stages: tuple[tuple[Tasks, ...], ...] = ()


@frozen(kw_only=True)
class Load:
    """What is computed, and when."""

    title: str
    kinds: tuple[Kind, ...]
    steps: tuple[Step, ...]
    #: Jobs of a cluster of fixed size.
    fixed: int = 10
    #: The most jobs of one whose size follows the work.
    maximum: float = math.inf
    #: Seconds that jobs ask for; the queue may give less.
    walltime: float = math.inf
    #: The only kind of jobs for those who have no groups: it can run everything.
    uniform: str = ""

    @classmethod
    def read(cls, name: str | Path) -> Load:
        """One of ours by its name, or a file."""
        found = _read("loads", name)
        kinds = tuple(Kind(threads=kind["cores"], **kind) for kind in found["kinds"])
        steps = tuple(_step(step) for each in found["steps"] for step in [each] * each.get("repeat", 1))
        return cls(
            title=found["title"],
            kinds=kinds,
            steps=steps,
            fixed=found["fixed"],
            maximum=found.get("maximum", math.inf),
            walltime=found.get("walltime", math.inf),
            uniform=found.get("uniform", kinds[0].name),
        )


def _step(found: Mapping[str, Any]) -> Step:
    return Step(
        pause=found.get("pause", 0.0),
        stages=tuple(tuple(_tasks(tasks) for tasks in stage["tasks"]) for stage in found["stages"]),
    )


def _tasks(found: Mapping[str, Any]) -> Tasks:
    return Tasks(**{**found, "need": tuple(sorted(found.get("need", {}).items()))})


@frozen(kw_only=True)
class Queue:
    """How a batch system treats jobs."""

    title: str
    median: float = 0.0
    spread: float = 0.0
    trace: tuple[float, ...] = ()
    start_up: float = 30.0
    running: float = math.inf
    failing: float = 0.0
    walltime: float = 86400.0

    @classmethod
    def read(cls, name: str | Path) -> Queue:
        """One of ours by its name, or a file."""
        found = _read("queues", name)
        return cls(**{**found, "trace": tuple(found.get("trace", ()))})

    def waits(self, chance: random.Random) -> Iterator[float]:
        """How long each job waits for its turn (s)."""
        number = 0
        while True:
            if self.trace:
                yield self.trace[number % len(self.trace)]
                number += 1
            else:
                yield drawn(self.median, self.spread, chance)


def drawn(median: float, spread: float, chance: random.Random) -> float:
    """A duration from a log-normal distribution."""
    return median * chance.lognormvariate(0.0, spread) if spread else median


def ours(what: str) -> list[str]:
    """The names of the loads, or the queues, that come with corral."""
    return sorted(path.stem for path in (_HERE / what).glob("*.toml"))


def _read(what: str, name: str | Path) -> dict[str, Any]:
    path = name if isinstance(name, Path) else _HERE / what / f"{name}.toml"
    return tomllib.loads(path.read_text())
