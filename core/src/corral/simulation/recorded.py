"""Loads from what Dask has recorded: a performance report, or a saved task stream.

A record says which tasks ran where and when, but neither which of them waited for others, nor what they asked for. So
this much of a load is guessed:

- *Tasks.* Each computation is one, also of a task that was computed twice. Its name is Dask's: the key without what
  makes it unique. `seconds` is the median of those of the same name in the same stage, and `spread` the standard
  deviation of their logarithms. Those that took more than ten times the median, and more than a second, are described
  apart: they are the long tail.
- *Steps.* Between two of them, nothing happened for five seconds or more, not even a transfer; the pause lasts as long.
  A cluster that had lost all its workers looks the same.
- *Stages.* A step is divided at moments when no task ran, if the tasks on both sides have no name in common. Not if
  there were about as many on either side as there are threads: then all of them began and ended together by chance.
  What remains is divided by names: one that began later than the others ended begins a new stage. Not all of its tasks,
  and not all of theirs, but nine tenths. What had to wait for a free thread looks as if it had waited for results.
- *Jobs.* There is one kind, without resources, whose jobs have as many cores as one worker ran tasks at a time. A
  cluster of fixed size has as many of them as there were workers at a time.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from dask.utils import key_split

from corral.errors import InvalidRequest
from corral.scaling.workload import Kind
from corral.simulation.files import find
from corral.simulation.scenario import Load, Step, Tasks

#: Where nothing happened for so long, a step ends (s).
PAUSE = 5.0
#: The part of the tasks of one name that must have begun later, or ended earlier, than others.
MOST = 0.9
#: Tasks that take so many times as long as others of their name, and longer than this (s), are told apart.
TAIL, SHORT = 10.0, 1.0
#: Less is not measured (s).
TICK = 1e-6

_RECORDS = (".html", ".htm", ".json")
#: How the task stream names what is not the computation of a task.
_OTHERWISE = ("transfer-", "disk-write-", "disk-read-", "deserialize-")
_SAVE = "save it like this: json.dump(client.get_task_stream(), file, default=str)"


@frozen(kw_only=True)
class Run:
    """One thing that a worker did."""

    name: str
    worker: str
    #: Which thread, among all of all workers; empty: not known.
    thread: str = ""
    #: Seconds, since whenever.
    start: float
    stop: float
    #: False: it is a transfer of results, or the like.
    is_task: bool = True


def load_of(name: str | Path) -> Load:
    """A load that comes with corral, by its name, or one from a file.

    Parameters
    ----------
    name
        A file in TOML, or a record of Dask's in HTML or JSON; see this module.

    Raises
    ------
    InvalidRequest
        There is none, or something in it is wrong: names the file and the cure.
    """
    path = find("loads", name)
    if path.suffix.lower() not in _RECORDS:
        return Load.read(name)
    runs = _of_stream(path) if path.suffix.lower() == ".json" else _of_report(path)
    if not any(run.is_task for run in runs):
        raise InvalidRequest("load", f"{path}: no task was computed while this was recorded")
    return guess(runs, path.stem)


# --- reading ----------------------------------------------------------------------------------------------------


def _of_report(path: Path) -> list[Run]:
    """What a performance report shows, or a plot of a task stream that was saved: documents of Bokeh's."""
    text = path.read_text(encoding="utf-8", errors="replace")
    for document in re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", text, re.DOTALL):
        try:
            columns = next(_streams(json.loads(html.unescape(document))), None)
        except ValueError:
            continue
        if columns is not None:
            return [_rectangle(*each) for each in zip(*columns)]
    raise InvalidRequest(
        "load", f"{path} has no task stream; distributed.performance_report writes files that have one"
    )


def _streams(part: Any) -> Iterator[list[list[Any]]]:
    """The columns of all task streams in a document: keys, names, workers, their threads, middles and durations."""
    wanted = ("key", "name", "worker", "worker_thread", "start", "duration")
    if isinstance(part, dict):
        entries = part.get("entries")
        if part.get("type") == "map" and isinstance(entries, list):
            columns = {entry[0]: entry[1] for entry in entries if isinstance(entry[0], str)}
        else:
            columns = part
        if all(isinstance(columns.get(name), list) for name in wanted):
            yield [columns[name] for name in wanted]
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        if isinstance(inner, dict | list):
            yield from _streams(inner)


def _rectangle(key: Any, name: str, worker: str, thread: str, middle: float, duration: float) -> Run:
    """What one rectangle of the plot stands for; it is described by its middle, in milliseconds."""
    own = _name(key)
    start = (middle - duration / 2) / 1000
    is_task = name not in [prefix + own for prefix in _OTHERWISE]
    stop = start + duration / 1000
    return Run(name=own, worker=worker, thread=thread, start=start, stop=stop, is_task=is_task)


def _of_stream(path: Path) -> list[Run]:
    """What `Client.get_task_stream` returned."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [
            Run(
                name=_name(task["key"]),
                worker=str(task.get("worker")),
                thread=f"{task['worker']}-{task['thread']}" if "worker" in task and "thread" in task else "",
                start=float(each["start"]),
                stop=float(each["stop"]),
                is_task=each["action"] == "compute",
            )
            for task in found
            for each in task["startstops"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        missing = f" has an entry without {error}" if isinstance(error, KeyError) else " is not a list of tasks"
        raise InvalidRequest("load", f"{path}{missing}, so it is no task stream; {_SAVE}") from None
    except ValueError as error:
        raise InvalidRequest("load", f"{path} is not JSON: {error}; {_SAVE}") from None


def _name(key: Any) -> str:
    """A key's name to Dask; in JSON, tuples are lists."""
    return str(key_split(tuple(key) if isinstance(key, list) else key))


# --- guessing ---------------------------------------------------------------------------------------------------


def guess(runs: Sequence[Run], title: str) -> Load:
    """Make a load of what ran, by the rules of this module."""
    steps: list[Step] = []
    ended_at = 0.0
    for group in _apart(runs, PAUSE):
        if tasks := [run for run in group if run.is_task]:
            pause = round(min(run.start for run in group) - ended_at, 1) if steps else 0.0
            stages = [stage for part in _divided(tasks) for stage in _by_names(part)]
            steps.append(Step(pause=pause, stages=tuple(map(_tasks, stages))))
            ended_at = max(run.stop for run in group)
    tasks = [run for run in runs if run.is_task]
    by_worker = defaultdict(list)
    for run in tasks:
        by_worker[run.worker].append(run)
    cores = max(_at_a_time(_one_by_one(own)) for own in by_worker.values())
    presence = [
        Run(name="", worker="", start=min(run.start for run in own), stop=max(run.stop for run in own))
        for own in by_worker.values()
    ]
    kind = Kind(name="default", cores=cores, threads=cores)
    return Load(title=title, kinds=(kind,), steps=tuple(steps), fixed=_at_a_time(presence), uniform="default")


def _apart(runs: Iterable[Run], seconds: float) -> list[list[Run]]:
    """Groups of runs between which, for more than so many seconds, there were none."""
    groups: list[list[Run]] = []
    until = -math.inf
    for run in sorted(runs, key=lambda run: run.start):
        if run.start - until > seconds:
            groups.append([])
        groups[-1].append(run)
        until = max(until, run.stop)
    return groups


def _divided(tasks: Sequence[Run]) -> list[list[Run]]:
    """Parts of a step, divided where no task ran because what followed was not ready."""
    threads = _at_a_time(tasks)

    def is_wave(part: Sequence[Run]) -> bool:
        return threads <= len(part) < 2 * threads

    parts: list[list[Run]] = []
    latest: list[Run] = []
    for part in _apart(tasks, 0.0):
        is_alike = bool(parts) and not {run.name for run in parts[-1]}.isdisjoint(run.name for run in part)
        if parts and (is_alike or (is_wave(latest) and is_wave(part))):
            parts[-1] += part
        else:
            parts.append(list(part))
        latest = part
    return parts


def _by_names(tasks: Sequence[Run]) -> list[list[Run]]:
    """Stages: what most tasks of a name waited for is in an earlier one."""
    by_name = defaultdict(list)
    for run in tasks:
        by_name[run.name].append(run)
    began = {name: _quantile([run.start for run in runs], 1 - MOST) for name, runs in by_name.items()}
    ended = {name: _quantile([run.stop for run in runs], MOST) for name, runs in by_name.items()}
    stages: list[list[Run]] = []
    until = -math.inf
    for name in sorted(began, key=began.__getitem__):
        if began[name] >= until:
            stages.append([])
        stages[-1] += by_name[name]
        until = max(until, ended[name])
    return stages


def _tasks(stage: Sequence[Run]) -> tuple[Tasks, ...]:
    """The tasks of a stage, those first that began first."""
    alike = defaultdict(list)
    for run in sorted(stage, key=lambda run: run.start):
        alike[run.name].append(max(run.stop - run.start, TICK))
    found = []
    for name, durations in alike.items():
        limit = max(SHORT, TAIL * statistics.median(durations))
        for own in ([each for each in durations if each <= limit], [each for each in durations if each > limit]):
            if own:
                spread = round(statistics.pstdev(map(math.log, own)), 3)
                seconds = float(f"{statistics.median(own):.3g}")
                found.append(Tasks(name=name, count=len(own), seconds=seconds, spread=spread))
    return tuple(found)


def _one_by_one(runs: Iterable[Run]) -> Iterator[Run]:
    """The same, but on each thread, what begins ends what came before.

    When a worker's clock is corrected, a task may seem to begin some milliseconds before the previous one has ended.
    """
    by_thread = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.start):
        by_thread[run.thread].append(run)
    yield from by_thread.pop("", ())
    for own in by_thread.values():
        yield from (evolve(run, stop=min(run.stop, after.start)) for run, after in itertools.pairwise(own))
        yield own[-1]


def _at_a_time(runs: Iterable[Run]) -> int:
    """The most that there were at the same time."""
    # At the same moment, what ends makes room for what begins.
    changes = sorted(change for run in runs for change in ((run.start, 1), (run.stop, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return max(1, most)


def _quantile(figures: Iterable[float], part: float) -> float:
    ordered = sorted(figures)
    return ordered[round(part * (len(ordered) - 1))]
