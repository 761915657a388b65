"""``corral simulate``, and the comparison of policies that it shares with ``nox -s policy``."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from corral.cli import main
from corral.cli.simulate import POLICIES as OFFERED
from corral.cli.simulate import verdict
from corral.simulation import Load, Queue
from corral.simulation.__main__ import verdicts
from corral.simulation.comparison import POLICIES, Row, dominators, measure
from corral.simulation.files import ours

SMALL = """
title = "small"
fixed = 3
[[kinds]]
name = "cpu"
cores = 2
[[kinds]]
name = "gpu"
cores = 2
gpus = 1
resources = { GPU = 1 }
[[steps]]
[[steps.stages]]
tasks = [{ name = "a", count = 40, seconds = 600 }]
"""
ROW = Row(
    load="l", queue="q", policy="corral", runs=1, makespan=1000.0, core_hours=100.0, gpu_hours=None,
    wasted_core_hours=10.0, lost_core_hours=0.0, submitted=10.0, requests=2.0, cancelled=0.0, largest=10.0, stages=1,
)  # fmt: skip


def asked(*words: object) -> Result:
    return CliRunner().invoke(main, ["simulate", *map(str, words)])


def objects(*words: object) -> dict[str, dict[str, Any]]:
    """What a simulation says in JSON, by policy."""
    done = asked(*words, "--json")
    assert done.exit_code == 0, done.output
    return {row["policy"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


# --- the command ------------------------------------------------------------------------------------------------


def test_without_words_it_lists_what_there_is() -> None:
    done = asked()
    assert done.exit_code == 0
    for what, readable in (("loads", Load), ("queues", Queue)):
        for name in ours(what):
            title = readable.read(name).title
            assert any(line.split(None, 1) == [name, title] for line in done.stdout.splitlines()), name
    listed = [json.loads(line) for line in asked("--json").stdout.splitlines()]
    assert {"what": "queue", "name": "minutes", "title": "10 minutes"} in listed
    assert len(listed) == len(ours("loads")) + len(ours("queues"))


def test_every_policy_is_offered() -> None:
    """The names stand twice, as those in the simulation are imported late."""
    assert tuple(POLICIES) == OFFERED


def test_the_table_says_what_each_policy_takes(small: Path, tmp_path: Path) -> None:
    """Of files of the user's own; the numbers are below each other, and GPUs are counted where there are any."""
    (tmp_path / "mine.toml").write_text("median = 60")
    done = asked(small, tmp_path / "mine.toml", "--seeds", 1)
    assert done.exit_code == 0, done.output
    told, where, _, head, *rows, _, last = done.stdout.splitlines()
    assert told == "small: 40 tasks in 1 stage; jobs of 2 cores, or of 2 cores and 1 GPU"
    assert where == "queue: mine; one run"
    titles = ["policy", "minutes", "core-hours", "GPU-hours", "wasted", "lost", "jobs", "submissions", "cancelled"]
    assert head.split() == titles
    assert [row[: row.index("  ")].strip() for row in rows] == [policy.title for policy in POLICIES.values()]
    assert {len(row) for row in (head, *rows)} == {len(head)}
    [fixed] = [row for row in rows if row.startswith("fixed size")]
    # 3 jobs of 2 threads: seven rounds of ten minutes, after a minute in the queue and half a minute's start.
    assert (fixed.split()[2], *fixed.split()[-3:]) == ("72", "3", "1", "0")
    assert "as fast and as cheap as corral, and better" in last.lower()
    alone = asked("bursts", "minutes", "--policy", "corral", "--seeds", 1)
    assert "GPU" not in alone.stdout
    assert "None of the others" not in alone.stdout


def test_a_policy_that_is_better_than_corrals_is_named() -> None:
    """If corral's is among those that were chosen, and there are others."""
    cheap = evolve(ROW, policy="Dask", core_hours=50.0)
    assert verdict({"corral": ROW, "dask": cheap, "fixed": evolve(cheap, policy="fixed size")}) == (
        "As fast and as cheap as corral, and better in time or cost: Dask; fixed size."
    )
    assert verdict({"corral": ROW, "dask": evolve(cheap, makespan=1100.0)}).startswith("None of the others is as fast")
    assert verdict({"corral": ROW}) == verdict({"dask": cheap, "fixed": cheap}) == ""


def test_who_is_never_done_is_named(tmp_path: Path) -> None:
    """With what is usually wrong: here, jobs that end while they start."""
    done = asked("search", "instant", "--seeds", 1, "--policy", "fixed", "--walltime", "10s")
    assert done.exit_code == 0, done.output
    [row] = [line for line in done.stdout.splitlines() if line.startswith("fixed size")]
    assert "  > 7200  " in row
    assert "Not done: fixed size. After five days the simulation ends. Perhaps tasks do not fit" in done.stdout
    assert "Not done" not in asked("search", "instant", "--seeds", 1, "--policy", "fixed").stdout


def test_programs_read_it_as_json(small: Path) -> None:
    """Policies as they were chosen, each once, times in seconds."""
    found = objects(small, "instant", "--policy", "fixed", "--policy", "dask-60", "--policy", "fixed", "--seeds", 2)
    assert list(found) == ["fixed size", "Dask, wait_count=60"]
    fixed = found["fixed size"]
    assert (fixed["load"], fixed["queue"], fixed["runs"], fixed["is_done"]) == ("small", "instant", 2, True)
    assert 7 * 600 < fixed["makespan"] < 7 * 600 + 60
    assert fixed["gpu_hours"] == 0


def test_jobs_are_as_they_are_asked_for(small: Path) -> None:
    """The most of them for all policies; the walltime; and corral's policy is told what `adapt` would be told."""
    free = objects(small, "instant", "--seeds", 1)
    bound = objects(small, "instant", "--seeds", 1, "--maximum", 2)
    assert {row["submitted"] for row in bound.values()} == {2.0}
    assert all(bound[policy]["makespan"] > free[policy]["makespan"] + 300 for policy in free)
    short = objects(small, "instant", "--seeds", 1, "--walltime", "30 min")
    assert short["fixed size"]["submitted"] > free["fixed size"]["submitted"]
    slow = objects(small, "instant", "--seeds", 1, "--target-duration", "2h")
    assert slow["corral"]["submitted"] < free["corral"]["submitted"]
    assert slow["Dask"] == free["Dask"]
    eager = objects("bursts", "minutes", "--seeds", 1, "--idle-timeout", "5s", "--policy", "corral")["corral"]
    patient = objects("bursts", "minutes", "--seeds", 1, "--policy", "corral")["corral"]
    assert eager["submitted"] > patient["submitted"]


def test_the_maximum_of_a_file_is_everybodys() -> None:
    """A number of jobs, also to Dask's code."""
    found = objects("hours", "twenty", "--seeds", 1, "--policy", "dask", "--policy", "dask-60")
    assert all(row["is_done"] for row in found.values())
    # Fifty jobs of one core.
    assert all(row["core_hours"] <= 50 * row["makespan"] / 3600 for row in found.values())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["burst", "minutes"], "load: 'burst' is no file, and none of those that come with corral: bursts, "),
        (["bursts", "minute"], "queue: 'minute' is no file, and none of those that come with corral: busy, "),
        (["bursts"], "queue: say in which queue, after the load: busy, hours, instant, "),
        (["bursts", "minutes", "--walltime", "30"], "walltime: '30' has no unit"),
        (["bursts", "minutes", "--idle-timeout", "soon"], "idle_timeout: 'soon' is not a duration"),
        (["bursts", "minutes", "--picture", "a.jpeg"], "picture: a.jpeg ends in none of .svg, .png, .pdf; write for"),
        (["bursts", "minutes", "--picture", "no/where.svg"], "picture: there is no folder no; make it, or name a file"),
        (["bursts", "minutes", "--policy", "slurm"], "'slurm' is not one of 'corral', 'dask', 'dask-60', 'fixed'"),
        (["bursts", "minutes", "--maximum", "0"], "0 is not in the range x>=1"),
    ],
)
def test_words_that_cannot_be_used_are_refused(words: list[str], told: str) -> None:
    """Before anything is computed, and with what could be said instead."""
    done = asked(*words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not done.stdout


def test_a_load_is_saved_to_be_changed(tmp_path: Path) -> None:
    """What is read from it is the same; a file that is there is left alone."""
    done = asked("mixed", "--save", tmp_path / "mine.toml")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(
        f"wrote {tmp_path / 'mine.toml'}: 6,072 tasks in 3 steps, 9 stages; jobs of 8 cores, or"
    )
    assert Load.read(tmp_path / "mine.toml") == Load.read("mixed")
    assert (tmp_path / "mine.toml").read_text().startswith("# Made from 'mixed' by corral simulate; see corral.")
    again = asked("bursts", "--save", tmp_path / "mine.toml")
    assert again.exit_code == 2
    assert again.stderr == f"corral: save: {tmp_path / 'mine.toml'} exists already; name another file, or remove it\n"


@pytest.mark.parametrize("name", ours("loads"))
def test_every_load_survives_being_written(tmp_path: Path, name: str) -> None:
    odd = evolve(Load.read(name), title='a "title" \\ with\x7f all')
    (tmp_path / "x.toml").write_text(odd.toml())
    assert Load.read(tmp_path / "x.toml") == odd


# --- pictures ---------------------------------------------------------------------------------------------------


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    """Of each policy, in the same bytes each time; also of a single one."""
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        assert asked("bursts", "minutes", "--seeds", 1, "--picture", tmp_path / name).exit_code == 0
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert "bursts with pauses, queue: 10 minutes" in drawn
    assert all(f">{policy.title}: " in drawn for policy in POLICIES.values())
    assert "core-hours wasted (as many as 400 jobs at a time)" in drawn
    assert (
        asked("bursts", "minutes", "--seeds", 1, "--policy", "corral", "--picture", tmp_path / "c.png").exit_code == 0
    )
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_one_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before minutes of work."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = asked("bursts", "minutes", "--picture", tmp_path / "a.svg")
    assert done.exit_code == 2
    assert done.stderr == (
        "corral: picture: pictures are drawn by matplotlib, which is not installed: pip install matplotlib\n"
    )
    assert not done.stdout


# --- what it needs ----------------------------------------------------------------------------------------------


def test_it_needs_neither_pytest_nor_the_testing_kit() -> None:
    """Who installs corral to use it has neither."""
    program = """
        import sys
        for name in ("pytest", "_pytest", "hypothesis", "matplotlib"):
            sys.modules[name] = None
        from corral.cli import main
        try:
            main(["simulate", "bursts", "instant", "--policy", "corral", "--seeds", "1"])
        finally:
            import corral.simulation.__main__, corral.simulation.recorded
            assert not [name for name in sys.modules if name.startswith("corral.testing")]
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "core-hours" in done.stdout


def test_help_does_not_wait_for_the_simulator() -> None:
    """It imports distributed, which takes a second."""
    program = (
        "import sys; from corral.cli import main; main(['simulate', '--help'], standalone_mode=False); "
        "sys.exit('distributed' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


# --- the comparison ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("makespan", "core_hours", "is_better"),
    [
        (900.0, 100.0, True),
        (1000.0, 90.0, True),
        (1015.0, 90.0, True),
        (900.0, 101.5, True),
        (1000.0, 100.0, False),
        (985.0, 98.5, False),
        (1025.0, 50.0, False),
        (500.0, 103.0, False),
    ],
)
def test_a_policy_dominates_that_loses_in_nothing_and_wins_in_something(
    makespan: float, core_hours: float, is_better: bool
) -> None:
    """Two per cent are noise."""
    other = evolve(ROW, policy="other", makespan=makespan, core_hours=core_hours)
    elsewhere = evolve(ROW, policy="other", queue="another", makespan=1.0, core_hours=1.0)
    assert dominators(ROW, [ROW, other, elsewhere]) == [other] * is_better


def test_what_was_never_done_is_not_better() -> None:
    """It is stopped after five days, whatever there is left to do."""
    endless = evolve(ROW, makespan=5 * 86400.0)
    assert dominators(endless, [evolve(endless, policy="other", core_hours=1.0)]) == []
    assert dominators(endless, [evolve(ROW, policy="other")]) != []


def test_the_table_says_where_corral_is_dominated() -> None:
    """By whom, and by how much."""
    dask = evolve(ROW, policy="Dask")
    cheap = evolve(ROW, policy="fixed size", core_hours=50.0)
    assert verdicts([ROW, dask])[0].endswith("better in one (1 of 1): met")
    line, miss = verdicts([ROW, dask, cheap])[0].splitlines()
    assert line.endswith("better in one (0 of 1): missed")
    assert miss == "  - l, q: 17 min, 100 core-hours against 17 min, 50 core-hours (fixed size)"


def test_gpu_hours_have_a_price_of_their_own() -> None:
    """Who saves core-hours with more GPU-hours is not cheaper; who saves GPU-hours is."""
    own = evolve(ROW, gpu_hours=10.0)
    greedy, saving = (evolve(own, policy="other", core_hours=90.0, gpu_hours=gpus) for gpus in (15.0, 10.0))
    assert dominators(own, [greedy]) == []
    assert dominators(own, [saving]) == [saving]
    assert dominators(own, [evolve(own, policy="other", gpu_hours=5.0)]) != []


def test_who_submits_more_jobs_than_a_fixed_cluster_in_every_stage_is_told() -> None:
    """As large a one as it wanted to be."""
    sparing = evolve(ROW, submitted=20.0, largest=10.0, stages=2)
    renewed = evolve(sparing, submitted=40.0, renewals=2)
    for row in (sparing, renewed):
        [line] = [line for line in verdicts([row, evolve(ROW, policy="Dask")]) if "no more jobs submitted" in line]
        assert line.endswith("met")
    [line] = [
        line
        for line in verdicts([evolve(sparing, submitted=21.0), evolve(ROW, policy="Dask")])
        if "no more jobs" in line
    ]
    assert line.endswith("l, q: 21 against 10 in each of 2")


def test_jobs_that_end_have_to_be_replaced_by_a_fixed_cluster_too(small: Path) -> None:
    """As often as the walltime is over, of the load or of the queue."""
    short = evolve(Load.read(small), walltime=1800.0)
    row, outcome = measure(short, Queue(title="", median=60), POLICIES["fixed"], [1])
    assert outcome.makespan > 3600
    assert row.renewals == math.ceil(outcome.makespan / 1800)
    assert measure(short, Queue(title="", walltime=1300.0), POLICIES["fixed"], [1])[0].renewals > 2
