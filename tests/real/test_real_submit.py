"""Batch mode in a job of one node, alike on every batch system: corral submit, and in it corral run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from operators import Operator

pytestmark = [pytest.mark.needs("cores"), pytest.mark.timeout(300), pytest.mark.usefixtures("leaves_nothing")]

SCRIPT = """
import os, sys
from distributed import Client
client = Client(timeout=60)
client.wait_for_workers(int(os.environ["CORRAL_WORKERS"]), timeout=90)
print(client.scheduler.address[:6], sum(client.gather(client.map(lambda number: number + 1, range(10)))), *sys.argv[1:])
END
"""


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(7)", 7), ("raise ValueError", 1)], ids=["0", "7", "raise"]
)
def test_a_script_in_a_job(operator: Operator, tmp_path: Path, end: str, code: int) -> None:
    """It computes with the workers of its own job; its exit code comes back through the batch system."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("END", end))
    words = operator.setup.words(cores=2, processes=2, memory="800MB")
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli", "submit", *words, "--wait", str(script), "words"],
        check=False, capture_output=True, text=True, timeout=240, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    [log] = tmp_path.glob("*.log")
    assert log.stem == done.stdout.strip()
    assert "tls:// 55 words" in log.read_text()
