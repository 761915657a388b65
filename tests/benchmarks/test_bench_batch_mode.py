"""corral run and dask-mpi, one after the other, in each round: 24 workers on three nodes of one machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from figures import Figures, at_least

pytestmark = [
    pytest.mark.bench,
    pytest.mark.real("slurm", "mpi"),
    pytest.mark.skipif(importlib.util.find_spec("dask_mpi") is None, reason="needs dask-mpi: nox -s bench"),
]

ROUNDS = 5
NODES, PROCESSES = 3, 8
WORKERS = NODES * PROCESSES

INITIALIZE = "from dask_mpi import initialize; initialize(interface='lo', nthreads=1, dashboard=False)\n"
#: Runs a command and says when that was.
BEGIN = "#!/bin/bash\nexport BEGAN=$(date +%s.%N)\nexec "
SCRIPT = f"""\
import os, time
from distributed import Client
client = Client(timeout=120)
client.wait_for_workers({WORKERS}, timeout=300)
print("seconds:", time.time() - float(os.environ["BEGAN"]), flush=True)
"""


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def by_corral(folder: Path) -> float:
    script, output = folder / "corral.py", folder / "corral.out"
    script.write_text(SCRIPT)
    run = [sys.executable, "-m", "corral.cli", "run", "--interface=lo", f"--processes={PROCESSES}", "--threads=1"]
    options = [f"--nodes={NODES}", f"--cpus-per-task={PROCESSES}", "--mem=6000", "--time=10", f"--output={output}"]
    subprocess.run(
        ["sbatch", "--wait", *options], input=f"{BEGIN}{' '.join(run)} --no-dashboard {script}\n",
        check=False, text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    return seconds_of(output.read_text())


def by_dask_mpi(folder: Path) -> float:
    script = folder / "dask_mpi_script.py"
    script.write_text(INITIALIZE + SCRIPT)
    allowed = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        # Loopback, and ranks that wait give way: else 26 of them fight over two cores for nothing.
        "OMPI_MCA_btl_tcp_if_include": "lo",
        "OMPI_MCA_oob_tcp_if_include": "lo",
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    done = subprocess.run(
        ["bash", "-c", f"{BEGIN}mpiexec -n {WORKERS + 2} {sys.executable} {script}"],
        check=False, text=True, capture_output=True, timeout=600, env={**os.environ, **allowed},
    )  # fmt: skip
    return seconds_of(done.stdout + done.stderr)


def seconds_of(said: str) -> float:
    found = [line for line in said.splitlines() if line.startswith("seconds: ")]
    assert len(found) == 1, said
    return float(found[0].partition(": ")[2])


def test_start_of_batch_mode(figures: Figures, state_directory: Path) -> None:
    """From the command to 24 workers that the script's client sees."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(by_corral(state_directory))
        theirs.append(by_dask_mpi(state_directory))
    figures.sooner_in_batch(f"{NODES} nodes of {PROCESSES} workers: all connected", ours, theirs, at_least(2))
