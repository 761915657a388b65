"""corral, dask-jobqueue and a bare fork on the same Slurm, one after the other, in each round."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from figures import Figures, Goal, at_least, at_most, megabytes, seconds

pytestmark = [
    pytest.mark.bench,
    pytest.mark.real("slurm"),
    pytest.mark.skipif(importlib.util.find_spec("dask_jobqueue") is None, reason="needs dask-jobqueue: nox -s bench"),
]

HERE = Path(__file__).parent
ROUNDS = 5


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place for the file that an import of dask-jobqueue writes, and nobody's own configuration."""
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))


def trial(script: str, *words: object) -> dict[str, float]:
    """Run one trial in a process of its own; returns its seconds."""
    ran = subprocess.run(
        [sys.executable, HERE / script, *map(str, words)], check=False, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr
    seconds: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return seconds


def test_held_jobs(figures: Figures) -> None:
    """A thousand jobs that never start, until each has an id, and until Slurm lists none of them any more."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(trial("contenders.py", "corral", "hold", 1000))
        theirs.append(trial("contenders.py", "dask-jobqueue", "hold", 1000))
    for until, key, goal in (
        ("1,000 held jobs have ids", "known", at_least(20)),
        ("they are cancelled", "cancelled", None),
    ):
        figures.sooner(until, [each[key] for each in ours], [each[key] for each in theirs], goal)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs dask.dataframe: nox -s bench")
def test_libraries(figures: Figures) -> None:
    """Sixteen workers from the asking until all have used numpy, pandas and dask.dataframe; and their memory then."""
    ours, without, theirs = [], [], []
    for _ in range(3):
        ours.append(trial("contenders.py", "corral", "libraries", 16))
        without.append(trial("contenders.py", "corral-without-preimport", "libraries", 16))
        theirs.append(trial("contenders.py", "dask-jobqueue", "libraries", 16))
    _compare_preimport(figures, 16, ours, without)
    what = "one job of 16 workers"
    figures.sooner(
        f"{what}: all have used numpy, pandas and dask.dataframe",
        [each["usable"] for each in ours],
        [each["usable"] for each in theirs],
        at_least(4),
    )
    for state, key, goal in (
        (f"{what}, just connected", "idle", None),
        (f"{what}, when they have used numpy, pandas and dask.dataframe", "used", at_most(0.5)),
    ):
        figures.smaller(state, [each[key] for each in ours], [each[key] for each in theirs], goal)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs dask.dataframe: nox -s bench")
def test_libraries_of_few_workers(figures: Figures) -> None:
    """What one import saves four workers."""
    ours, without = [], []
    for _ in range(3):
        ours.append(trial("contenders.py", "corral", "libraries", 4))
        without.append(trial("contenders.py", "corral-without-preimport", "libraries", 4))
    _compare_preimport(figures, 4, ours, without)


def _compare_preimport(
    figures: Figures, workers: int, ours: list[dict[str, float]], without: list[dict[str, float]]
) -> None:
    what = f"one job of {workers} workers"
    figures.less_with_preimport(
        f"{what}: all have used numpy, pandas and dask.dataframe",
        [each["usable"] for each in ours],
        [each["usable"] for each in without],
        seconds,
    )
    figures.less_with_preimport(
        f"{what}: memory then, of each",
        [each["used"] / workers for each in ours],
        [each["used"] / workers for each in without],
        megabytes,
    )


@pytest.mark.parametrize(
    ("jobs", "processes", "rounds", "sooner", "as_long"),
    [
        (1, 1, ROUNDS, at_least(1.2), at_most(1.6)),
        (1, 16, ROUNDS, at_least(3.5), at_most(1.6)),
        (1, 64, 3, None, None),
        (10, 1, ROUNDS, at_least(2), None),
    ],
    ids=["one", "sixteen", "sixty-four", "ten jobs"],
)
def test_workers(
    figures: Figures, jobs: int, processes: int, rounds: int, sooner: Goal | None, as_long: Goal | None
) -> None:
    """Workers from the asking until the last of them has registered; and from the start of their job."""
    ours, theirs, bare = [], [], []
    for _ in range(rounds):
        ours.append(trial("contenders.py", "corral", "workers", jobs, processes))
        theirs.append(trial("contenders.py", "dask-jobqueue", "workers", jobs, processes))
        if jobs == 1:
            bare.append(trial("bare_fork.py", processes)["started"])
    what = f"{jobs} jobs of one worker" if jobs > 1 else f"one job of {processes} worker{'s' * (processes > 1)}"
    figures.sooner(
        f"{what}: all connected", [each["asked"] for each in ours], [each["asked"] for each in theirs], sooner
    )
    if bare:
        figures.as_long(f"{what}: all connected", [each["started"] for each in ours], bare, as_long)
