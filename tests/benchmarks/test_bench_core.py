"""What corral costs by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from figures import Figures, at_most
from pretend_slurm import JOBS, squeue

from corral.domain import JobId
from corral.testing.driving import converse
from corral_slurm import Slurm

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
IMPORT = """
import time, distributed
began = time.perf_counter()
{statement}
print(1000 * (time.perf_counter() - began))
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


def test_parsing(figures: Figures) -> None:
    """What squeue prints, from text to statuses."""
    ids = [JobId(f"1_{index}") for index in range(JOBS)]
    answer = squeue(1, "RUNNING", range(JOBS))
    milliseconds = []
    for _ in range(15):
        began = time.process_time()
        found = converse(Slurm().poll_status(job_ids=ids), lambda _: answer)
        milliseconds.append(1000 * (time.process_time() - began))
        assert len(found) == JOBS
    figures.alone(f"an answer of squeue with {JOBS:,} rows", milliseconds, "ms", at_most(150))


def test_memory(figures: Figures) -> None:
    """A cluster of ten thousand jobs beside one of none."""
    found = [json.loads(subprocess.check_output([sys.executable, HERE / "ten_thousand.py"])) for _ in range(3)]
    figures.alone(f"memory for {JOBS:,} jobs", [each["megabytes"] for each in found], "MB", at_most(60))
    stood_still = [1000 * each["standstill"] for each in found]
    figures.alone(f"the event loop's longest pause when {JOBS:,} jobs start at once", stood_still, "ms")
