"""What corral costs by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from figures import Figures, at_most
from pretend_slurm import JOBS

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
IMPORT = """
import time, distributed
began = time.process_time()
{statement}
print(1000 * (time.process_time() - began))
"""


@pytest.mark.parametrize("statement", ["import corral", "from corral import Cluster"])
def test_import(figures: Figures, statement: str) -> None:
    """What it takes when distributed has been imported."""
    program = [sys.executable, "-c", IMPORT.format(statement=statement)]
    values = [float(subprocess.check_output(program)) for _ in range(15)]
    figures.alone(f"`{statement}` after `import distributed`", values, "ms", at_most(60))


def test_plan(figures: Figures) -> None:
    """What to do next for ten thousand jobs, in each of 170 rounds."""
    milliseconds = json.loads(subprocess.check_output([sys.executable, HERE / "virtual_time.py"]))
    figures.alone(f"`plan` for {JOBS:,} jobs", milliseconds, "ms", at_most(50))


def test_memory(figures: Figures) -> None:
    """A cluster of ten thousand jobs beside one of none."""
    found = [json.loads(subprocess.check_output([sys.executable, HERE / "ten_thousand.py"])) for _ in range(3)]
    figures.alone(f"memory for {JOBS:,} jobs", [each["megabytes"] for each in found], "MB", at_most(60))
    stood_still = [1000 * each["standstill"] for each in found]
    figures.alone(f"the event loop's longest pause when {JOBS:,} jobs start at once", stood_still, "ms")


def test_display(figures: Figures) -> None:
    """A widget of a thousand jobs, all of whose displays have news all the time, beside none."""
    found = json.loads(subprocess.check_output([sys.executable, HERE / "thousand_displayed.py"]))
    what = "what a displayed widget of 1,000 jobs takes from a busy event loop"
    figures.alone(what, [100 * found["slowed"]], "%", at_most(2))
    shares = [100 * each for each in found["shares"]]
    figures.alone("what its thread takes of a processor", shares, "%", at_most(2))
    drawing = [1000 * each for each in found["drawing"]]
    figures.alone("to draw it once, in a thread of its own", drawing, "ms", at_most(50))
