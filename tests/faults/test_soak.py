"""Minutes to hours of scaling, killing and computing on a real Slurm: every result right, and nothing grows."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from real_life import small_jobs

SOAK = Path(__file__).parent / "soak.py"

#: Enough to see that it works; `nox -s soak` takes half an hour.
SECONDS = float(os.environ.get("CORRAL_SOAK_SECONDS", "180"))


@pytest.mark.soak
@pytest.mark.real("slurm")
@pytest.mark.needs("here")
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.usefixtures("leaves_nothing")
def test_nothing_grows_and_every_result_is_right(record_property: Any) -> None:
    """After five minutes open files stay within four, and memory within a twentieth; short runs judge only files."""
    # To repeat a failure: python tests/faults/soak.py --seed …
    seed = random.SystemRandom().randrange(10**6)
    jobs = small_jobs(walltime="00:02:00")
    ran = subprocess.run(
        [sys.executable, str(SOAK), f"--seconds={SECONDS}", f"--seed={seed}", f"--jobs={json.dumps(jobs)}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 250,
    )
    assert ran.returncode == 0, f"seed {seed}:\n{ran.stderr[-5000:]}"
    figures = json.loads(ran.stdout.splitlines()[-1])
    record_property("figures", figures)
    print(figures)
    before, after = figures["before"], figures["after"]
    assert abs(after["files"] - before["files"]) <= 4, figures
    if figures["warm_up"] >= 300:
        assert after["memory"] <= before["memory"] * 1.05, figures
