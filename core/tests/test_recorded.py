"""Loads from what Dask has recorded: real reports are read, and what is guessed from them is near the truth."""

from __future__ import annotations

import asyncio
import heapq
import html
import json
import operator
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve
from distributed import Client, LocalCluster, performance_report

from corral.errors import InvalidRequest
from corral.simulation import Fixed, Load, Queue, simulate
from corral.simulation.recorded import Run, guess, load_of
from corral.simulation.scenario import drawn


def runs(name: str, *spans: tuple[float, float], worker: str = "w") -> list[Run]:
    return [Run(name=name, worker=worker, start=start, stop=stop) for start, stop in spans]


def names(load: Load) -> list[list[dict[str, int]]]:
    """How many tasks of which name there are, by steps and stages."""
    return [[{tasks.name: tasks.count for tasks in stage} for stage in step.stages] for step in load.steps]


def played(load: Load, threads: int) -> list[Run]:
    """What Dask would record of a load on so many threads that are there all the time; four on each worker."""
    chance = random.Random(1)
    found = []
    now = 1000.0
    for step in load.steps:
        now += step.pause
        for stage in step.stages:
            free = [(now, thread) for thread in range(threads)]
            # As in a graph: tasks of different names come in any order.
            todo = [tasks for tasks in stage for _ in range(tasks.count)]
            chance.shuffle(todo)
            for tasks in todo:
                start, thread = heapq.heappop(free)
                stop = start + drawn(tasks.seconds, tasks.spread, chance)
                found.append(Run(name=tasks.name, worker=str(thread // 4), thread=str(thread), start=start, stop=stop))
                heapq.heappush(free, (stop + 0.0005, thread))
            now = max(run.stop for run in found) + 0.005
    return found


# --- guessing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["bursts", "hours", "inference", "mixed", "said", "search", "session", "tail", "unknown"]
)
def test_a_load_that_was_recorded_is_recognized(name: str) -> None:
    """Steps, stages, numbers, durations and pauses of those that come with corral."""
    truth = Load.read(name)
    found = guess(played(truth, 64), "recorded")
    assert names(found) == names(truth)
    assert [step.pause for step in found.steps[1:]] == pytest.approx([step.pause for step in truth.steps[1:]], abs=0.2)
    assert (found.kinds[0].cores, found.fixed) == (4, 16)
    for step, original in zip(found.steps, truth.steps, strict=True):
        for stage, tasks in zip(step.stages, original.stages, strict=True):
            seconds = {each.name: each.seconds for each in stage}
            assert seconds == pytest.approx({each.name: each.seconds for each in tasks}, rel=0.5)
            for each in tasks:
                if each.count >= 100:
                    assert seconds[each.name] == pytest.approx(each.seconds, rel=0.1)


def test_a_recorded_load_takes_as_long_as_its_original() -> None:
    """In the simulator, which is what it is recorded for."""
    truth, queue = Load.read("bursts"), Queue.read("minutes")
    found = guess(played(truth, 64), "recorded")
    # On a fixed size: how a policy feels about a load is no matter here.
    outcome, expected = (simulate(load, queue, Fixed(40), seed=1) for load in (found, truth))
    assert outcome.makespan == pytest.approx(expected.makespan, rel=0.1)
    assert outcome.core_hours == pytest.approx(expected.core_hours, rel=0.1)


def test_tasks_that_run_between_each_other_are_one_stage() -> None:
    """Each of the second name waits for one of the first: there is no moment at which all had to wait."""
    first = [(start / 4, start / 4 + 1.0) for start in range(100)]
    second = [(start + 1.01, start + 1.5) for start, _ in first]
    assert names(guess([*runs("load", *first), *runs("sum", *second)], "")) == [[{"load": 100, "sum": 100}]]


def test_threads_that_keep_step_by_chance_are_not_held_for_stages() -> None:
    """Four threads, tasks that take the same: nothing runs for a moment after every four of them."""
    found = []
    for wave in range(10):
        found += [run for _ in range(4) for run in runs("ab"[wave % 2], (wave * 1.01, wave * 1.01 + 1))]
    assert names(guess(found, "")) == [[{"a": 20, "b": 20}]]


def test_moments_at_which_nothing_runs_are_no_end_if_it_goes_on_like_before() -> None:
    """Tasks that come one by one, as their files do."""
    found = runs("a", *[(start, start + 0.5) for start in range(5)], (5.0, 5.5), (5.0, 5.5), (5.0, 5.5))
    assert names(guess(found, "")) == [[{"a": 8}]]


def test_few_of_a_name_that_are_early_or_late_do_not_join_stages() -> None:
    """A straggler: the next stage began without it, so it was not waited for."""
    first = runs("a", *[(0.0, 10.0)] * 19, (0.0, 15.0))
    second = runs("b", (9.0, 10.0), *[(10.0, 20.0)] * 18)
    assert names(guess([*first, *second], "")) == [[{"a": 20}, {"b": 19}]]


def test_a_pause_in_which_results_were_moved_is_none() -> None:
    """The tasks waited for the network, not for a person."""
    moved = Run(name="b", worker="w", start=1.0, stop=31.0, is_task=False)
    assert names(guess([*runs("a", (0.0, 1.0)), moved, *runs("b", (31.0, 32.0))], "")) == [[{"a": 1}, {"b": 1}]]
    assert len(guess([*runs("a", (0.0, 1.0)), *runs("b", (31.0, 32.0))], "").steps) == 2


def test_what_takes_much_longer_than_others_of_its_name_is_told_apart() -> None:
    """Otherwise the median would hide it, and the spread is that of a curve without such a tail."""
    [[stage]] = [step.stages for step in guess(runs("a", *[(0.0, 30.0)] * 60, (0.0, 3600.0), (0.0, 3000.0)), "").steps]
    assert [(tasks.name, tasks.count, tasks.seconds) for tasks in stage] == [("a", 60, 30.0), ("a", 2, 3300.0)]


def test_a_thread_does_one_thing_at_a_time() -> None:
    """A worker's clock was corrected between two tasks; that makes no second core, as another thread would."""
    tasks = runs("a", (0.0, 1.01), (1.0, 2.0))
    assert guess([evolve(run, thread="1") for run in tasks], "").kinds[0].cores == 1
    assert guess([evolve(run, thread=str(run.start)) for run in tasks], "").kinds[0].cores == 2


# --- reading ----------------------------------------------------------------------------------------------------


def slowly(number: int) -> int:
    time.sleep(0.02)
    return number


async def recorded(folder: Path) -> None:
    """Two stages on two workers of two threads: a performance report, and the task stream as JSON."""
    async with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, asynchronous=True, dashboard_address=None
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
        performance_report(filename=str(folder / "report.html")),
    ):
        parts = client.map(slowly, range(40), key="one<&>two")
        numbers = client.map(operator.neg, range(3), key=[("three", part) for part in range(3)])
        total = client.submit(sum, parts, key="total-0123456789abcdef0123456789abcdef")
        assert await total == 780
        await client.gather(numbers)
        stream = await client.get_task_stream()
        (folder / "stream.json").write_text(json.dumps(stream, default=str))


def test_a_performance_report_and_a_task_stream_are_read(tmp_path: Path) -> None:
    """As Dask writes them today: what a key has that HTML gives a meaning to, keys that are tuples."""
    asyncio.run(recorded(tmp_path))
    report, stream = load_of(tmp_path / "report.html"), load_of(str(tmp_path / "stream.json"))
    for load in (report, stream):
        counts: Counter[str] = Counter()
        for tasks in (tasks for step in load.steps for stage in step.stages for tasks in stage):
            counts[tasks.name] += tasks.count
            if tasks.name == "one<&>two":
                assert 0.02 <= tasks.seconds < 0.2
        # Of the first tasks, Dask's report misses those that a worker's clock puts before its beginning.
        assert counts.pop("one<&>two") in ([40] if load is stream else range(20, 41))
        assert counts == {"three": 3, "total": 1}
        assert (load.kinds[0].cores, load.fixed) == (2, 2)
        assert "total" in names(load)[-1][-1]
    assert (report.title, stream.title) == ("report", "stream")


def test_what_is_not_a_record_is_told(tmp_path: Path) -> None:
    """With what writes one."""
    (tmp_path / "page.html").write_text("<html><script type='application/json'>{]</script></html>")
    with pytest.raises(InvalidRequest, match=r"page\.html has no task stream; distributed\.performance_report writes"):
        load_of(tmp_path / "page.html")
    (tmp_path / "a.json").write_text("{]")
    with pytest.raises(InvalidRequest, match=r"a\.json is not JSON: .*json\.dump\(client\.get_task_stream\(\)"):
        load_of(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(InvalidRequest, match=r"a\.json is not a list of tasks, so it is no task stream; save it"):
        load_of(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('[{"key": "a"}]')
    with pytest.raises(InvalidRequest, match=r"a\.json has an entry without 'startstops', so it is no task stream"):
        load_of(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidRequest, match=r"a\.json: no task was computed while this was recorded"):
        load_of(tmp_path / "a.json")
    with pytest.raises(InvalidRequest, match="load: 'none.html' is no file, and none of those that come"):
        load_of("none.html")


@pytest.mark.parametrize("older", [True, False])
def test_documents_of_older_versions_of_bokeh_are_read(tmp_path: Path, older: bool) -> None:
    """Columns are a table there, and pairs of name and column now."""
    columns = {
        "start": [500.0, 5000.0, 10750.0], "duration": [1000.0, 10000.0, 500.0], "key": [["a&b", 0], ["a&b", 0], "c"],
        "name": ["transfer-a&b", "a&b", "c"], "worker": ["w"] * 3, "worker_thread": ["w-1"] * 3,
    }  # fmt: skip
    source = {"data": columns if older else {"type": "map", "entries": [[*pair] for pair in columns.items()]}}
    document = html.escape(json.dumps({"id": {"roots": [{"attributes": source}]}}), quote=False)
    (tmp_path / "report.html").write_text(f'<script type="application/json" id="x">\n{document}\n</script>')
    load = load_of(tmp_path / "report.html")
    assert names(load) == [[{"a&b": 1}, {"c": 1}]], "a rectangle is where its middle is"
    assert load.steps[0].stages[0][0].seconds == 10.0
