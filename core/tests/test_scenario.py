"""Files of loads and queues: what is wrong in one is told with the file, the key and the cure."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from corral.errors import InvalidRequest
from corral.simulation import Load, Queue

LOAD = """
title = "mine"
fixed = 3
[[kinds]]
name = "cpu"
cores = 2
resources = { cpu = 2 }
[[steps]]
repeat = 2
pause = 5
[[steps.stages]]
tasks = [{ name = "a", count = 8, seconds = 10, need = { cpu = 1 } }, { name = "b", count = 1, seconds = 1.5 }]
"""

QUEUE = """
title = "ours"
median = 60
"""


def test_what_a_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    """Only what is computed, and on what, must be said."""
    (tmp_path / "least.toml").write_text(
        '[[kinds]]\nname = "cpu"\ncores = 2\n[[steps]]\n[[steps.stages]]\n'
        '[[steps.stages.tasks]]\nname = "a"\ncount = 1\nseconds = 2\n'
    )
    load = Load.read(tmp_path / "least.toml")
    assert (load.title, load.uniform, load.fixed, load.maximum, load.walltime) == (
        "least",
        "cpu",
        10,
        math.inf,
        math.inf,
    )
    assert load.kinds[0].threads == 2
    [[[tasks]]] = [step.stages for step in load.steps]
    assert (tasks.spread, tasks.expected, tasks.need) == (0.0, None, ())
    (tmp_path / "least-queue.toml").write_text("")
    queue = Queue.read(str(tmp_path / "least-queue.toml"))
    assert queue == Queue(title="least-queue")


def test_steps_are_repeated(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(LOAD)
    load = Load.read(tmp_path / "mine.toml")
    assert len(load.steps) == 2
    assert [tasks.need for tasks in load.steps[1].stages[0]] == [(("cpu", 1.0),), ()]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('title = "mine"', "title = mine", "is not TOML: Invalid value (at line 2"),
        ('title = "mine"', "title = 7", 'title: 7 is no text; write for example title = "a name"'),
        ("fixed = 3", "fxied = 3", "fxied: there is no such key here. Did you mean 'fixed'? There are fixed, kinds, "),
        ("fixed = 3", "fixed = 0", "fixed: 0 is too little: it must be at least 1"),
        ("fixed = 3", "fixed = 2.5", "fixed: 2.5 is no whole number"),
        ("fixed = 3", 'fixed = "3"', 'fixed: "3" is no number'),
        ("fixed = 3", "fixed = true", "fixed: true is no number"),
        ("fixed = 3", "maximum = inf", "maximum: it must be finite; leave it out where any number will do"),
        ("fixed = 3", "maximum = nan", "maximum: nan is no number"),
        ("fixed = 3", "walltime = 0", "walltime: 0 is too little: it must be more than 0"),
        ("fixed = 3", 'uniform = "gpu"', "uniform: no kind has the name 'gpu'. Did you mean 'cpu'? There are cpu"),
        ("cores = 2", "", "kinds[0].cores: it is missing"),
        ("[[steps]]", '[[kinds]]\nname = "cpu"\ncores = 1\n[[steps]]', "kinds: 2 have the name 'cpu'; give each"),
        ("resources = { cpu = 2 }", "resources = 2", "resources: 2 is no table; write for example resources = { cpu ="),
        ("resources = { cpu = 2 }", "resources = { cpu = -2 }", "kinds[0].resources.cpu: -2 is too little"),
        ("resources = { cpu = 2 }", "", "tasks[0].need: jobs of the kind 'cpu' have less, and whoever has no groups"),
        ("pause = 5", "pause = -5", "steps[0].pause: -5 is too little: it must be at least 0"),
        ("repeat = 2", "repeat = 0", "steps[0].repeat: 0 is too little"),
        ("seconds = 10", "second = 10", "steps[0].stages[0].tasks[0].second: there is no such key here. Did you mean "),
        (", seconds = 1.5", "", "steps[0].stages[0].tasks[1].seconds: it is missing"),
        ("seconds = 10", "seconds = 10, expected = 0", "tasks[0].expected: 0 is too little: it must be more than 0"),
    ],
)  # fmt: skip
def test_a_load_that_is_wrong_is_told_where_and_how(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in LOAD
    (tmp_path / "mine.toml").write_text(LOAD.replace(before, after, 1))
    with pytest.raises(InvalidRequest) as caught:
        Load.read(tmp_path / "mine.toml")
    assert str(caught.value).startswith(f"load: {tmp_path / 'mine.toml'}")
    assert told in str(caught.value)


@pytest.mark.parametrize("part", ["[[kinds]]", "[[steps]]", "[[steps.stages]]", "tasks = "])
def test_what_must_be_there_at_least_once_is_told(tmp_path: Path, part: str) -> None:
    (tmp_path / "mine.toml").write_text(LOAD[: LOAD.index(part)] if part != "[[kinds]]" else 'title = "nothing"')
    header = part.strip("[]") if part.startswith("[[") else "steps.stages.tasks"
    with pytest.raises(InvalidRequest, match=rf"there is none; at least one \[\[{header}\]\] is needed"):
        Load.read(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("median = -1", "median: -1 is too little: it must be at least 0"),
        ("failing = 2", "failing: 2 is too much: it must be at most 1"),
        ("running = 0", "running: 0 is too little: it must be at least 1"),
        ("trace = [1, -2]", "trace[1]: -2 is too little"),
        ("trace = 7", "trace: 7 is no list; write for example trace = [10, 3000, 20]"),
        ("trace = [1]\nmedian = 2", "trace: it gives the waits themselves, instead of median and spread"),
        ("startup = 3", "startup: there is no such key here. Did you mean 'start_up'?"),
    ],
)
def test_a_queue_that_is_wrong_is_told_where_and_how(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "ours.toml").write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        Queue.read(tmp_path / "ours.toml")
    assert str(caught.value).startswith(f"queue: {tmp_path / 'ours.toml'}: {told}")


def test_a_name_that_nobody_has_is_told_with_those_that_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"load: 'burst' is no file, and none of .*: bursts, .*mean 'bursts'\?"):
        Load.read("burst")
    with pytest.raises(InvalidRequest, match="queue: 'minute.toml' is no file, and none of .*: busy, hours, instant"):
        Queue.read("minute.toml")


def test_what_is_no_text_is_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match=r"mine\.toml is not TOML: .*utf-8"):
        Load.read(tmp_path / "mine.toml")
