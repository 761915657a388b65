"""Loads and queues, and the files that describe them.

A load says what is computed. Steps follow one another, each some seconds after the previous one has ended, like a
person or a script that continues once the results are there. A step has stages, each of which begins when the previous
one has ended, as in a graph of tasks. ::

    title = "Bursts with pauses"
    fixed = 50                  # jobs of a cluster of fixed size, for comparison; left out: 10
    maximum = 50                # the most jobs of one that adapts; left out: any number
    uniform = "cpu"             # the kind of all jobs of whoever has no groups; left out: the first
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

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from corral.errors import did_you_mean
from corral.scaling.workload import Kind, Need
from corral.simulation.files import Table, inline, ours, plain, quoted, read

__all__ = ["Load", "Queue", "Step", "Tasks", "drawn", "ours"]


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

    def toml(self) -> str:
        """What describes them in a file."""
        said = {
            "name": self.name, "count": self.count, "seconds": self.seconds, "spread": self.spread or None,
            "need": dict(self.need) or None, "expected": self.expected,
        }  # fmt: skip
        return inline({key: value for key, value in said.items() if value is not None})


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
        """One of those that come with corral, by its name, or a file.

        Raises
        ------
        InvalidRequest
            There is none, or something in it is wrong: names the file, the key and the cure.
        """
        found = read("loads", name)
        found.only("title", "fixed", "maximum", "walltime", "uniform", "kinds", "steps")
        kinds = tuple(_kind(each) for each in found.tables("kinds"))
        [(commonest, times), *_] = Counter(kind.name for kind in kinds).most_common()
        if times > 1:
            raise found.wrong("kinds", f"{times} have the name {commonest!r}; give each a name of its own")
        by_name = {kind.name: kind for kind in kinds}
        uniform = found.text("uniform", kinds[0].name)
        if uniform not in by_name:
            raise found.wrong(
                "uniform", f"no kind has the name {uniform!r}.{did_you_mean(uniform, by_name)} There are "
                f"{', '.join(by_name)}"
            )  # fmt: skip
        return cls(
            title=found.text("title", found.path.stem),
            kinds=kinds,
            steps=tuple(
                step
                for each in found.tables("steps")
                for step in [_step(each, by_name[uniform])] * each.whole("repeat", 1, least=1)
            ),
            fixed=found.whole("fixed", 10, least=1),
            maximum=found.whole("maximum", least=1) if "maximum" in found.found else math.inf,
            walltime=found.number("walltime", math.inf, above=True),
            uniform=uniform,
        )

    def toml(self, comment: str = "") -> str:
        """A file that describes it, from which `read` makes the same; a comment of one line can stand above it."""
        lines = [f"# {comment}"] if comment else []
        lines += [f"title = {quoted(self.title)}", f"fixed = {self.fixed}"]
        lines += [
            f"{name} = {plain(value)}" for name in ("maximum", "walltime") if (value := getattr(self, name)) < math.inf
        ]
        lines.append(f"uniform = {quoted(self.uniform)}")
        for kind in self.kinds:
            lines += ["", "[[kinds]]", f"name = {quoted(kind.name)}", f"cores = {kind.cores}"]
            lines += [f"gpus = {kind.gpus}"] * bool(kind.gpus)
            lines += [f"resources = {inline(kind.resources)}"] * bool(kind.resources)
        for step, alike in itertools.groupby(self.steps):
            lines += ["", "[[steps]]"]
            lines += [f"repeat = {times}"] if (times := len(list(alike))) > 1 else []
            lines += [f"pause = {plain(step.pause)}"] * bool(step.pause)
            for stage in step.stages:
                lines += ["[[steps.stages]]", "tasks = [", *(f"    {tasks.toml()}," for tasks in stage), "]"]
        return "\n".join([*lines, ""])


def _kind(found: Table) -> Kind:
    found.only("name", "cores", "gpus", "resources")
    cores = found.whole("cores", least=1)
    return Kind(
        name=found.text("name"),
        cores=cores,
        threads=cores,
        gpus=found.whole("gpus", 0),
        resources=found.amounts("resources"),
    )


def _step(found: Table, uniform: Kind) -> Step:
    found.only("repeat", "pause", "stages")
    stages = found.tables("stages")
    for stage in stages:
        stage.only("tasks")
    return Step(
        pause=found.number("pause", 0.0),
        stages=tuple(tuple(_tasks(tasks, uniform) for tasks in stage.tables("tasks")) for stage in stages),
    )


def _tasks(found: Table, uniform: Kind) -> Tasks:
    found.only("name", "count", "seconds", "spread", "need", "expected")
    need = tuple(sorted(found.amounts("need").items()))
    if not uniform.room(need):
        # It would be waited for until the simulation gives up.
        raise found.wrong(
            "need", f"jobs of the kind {uniform.name!r} have less, and whoever has no groups runs everything there. "
            "Give it more resources, or name another kind with uniform ="
        )  # fmt: skip
    return Tasks(
        name=found.text("name"),
        count=found.whole("count", least=1),
        seconds=found.number("seconds"),
        spread=found.number("spread", 0.0),
        need=need,
        expected=found.number("expected", above=True) if "expected" in found.found else None,
    )


def durations(load: Load, chance: random.Random) -> Iterator[tuple[float, ...]]:
    """How long each task takes (s): of one kind of tasks after the other, stage by stage."""
    for step in load.steps:
        for tasks in (tasks for stage in step.stages for tasks in stage):
            yield tuple(drawn(tasks.seconds, tasks.spread, chance) for _ in range(tasks.count))


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
        """One of those that come with corral, by its name, or a file.

        Raises
        ------
        InvalidRequest
            There is none, or something in it is wrong: names the file, the key and the cure.
        """
        found = read("queues", name)
        found.only("title", "median", "spread", "trace", "start_up", "running", "failing", "walltime")
        trace = found.numbers("trace")
        if trace and "median" in found.found:
            raise found.wrong(
                "trace", "it gives the waits themselves, instead of median and spread: remove the one or the other"
            )
        return cls(
            title=found.text("title", found.path.stem),
            median=found.number("median", 0.0),
            spread=found.number("spread", 0.0),
            trace=trace,
            start_up=found.number("start_up", 30.0),
            running=found.number("running", math.inf, least=1),
            failing=found.number("failing", 0.0, most=1.0),
            walltime=found.number("walltime", 86400.0, above=True),
        )

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
