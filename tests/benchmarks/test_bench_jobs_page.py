"""What the page of jobs costs the scheduler that shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from figures import Figures, at_most

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
JOBS = 1000


@pytest.mark.parametrize("changes", [0, 20])
def test_somebody_looks(figures: Figures, changes: int) -> None:
    """At a thousand jobs, of which so many change each second: the event loop's thread, beside nobody's looking."""
    argv = [sys.executable, str(HERE / "watch_jobs.py"), str(JOBS), str(changes), "10"]
    found = [json.loads(subprocess.check_output(argv)) for _ in range(3)]
    what = f"one viewer of the page of {JOBS:,} jobs, {changes} changes a second: of the event loop"
    figures.alone(what, [each["loop"] for each in found], "%", at_most(2))
    figures.alone(f"{what}, and of all threads", [each["process"] for each in found], "%")
