"""``corral new-site`` on a real batch system: what it writes is right for it, and used at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client

from corral import Cluster

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("testbed"), pytest.mark.timeout(300)]


def corral(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli", *words], capture_output=True, text=True, check=True
    ).stdout


def test_a_new_site_is_used_as_it_is_written(
    state_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kinds of nodes are Slurm's partitions; a job of five minutes is for the one that ends jobs after ten."""
    path = tmp_path / "here.yaml"
    corral("new-site", "here", "--backend=slurm", f"--yaml={path}")
    monkeypatch.setenv("CORRAL_SITES", str(path))
    partitions = subprocess.run(["sinfo", "-h", "-o", "%R"], capture_output=True, text=True, check=True).stdout.split()
    text = path.read_text()
    assert sorted(set(partitions)) == sorted(each for each in set(partitions) if f"queue: {each}," in text)
    assert "#SBATCH --partition=batch\n" in corral("script", "--site=here", "--memory=2GB")
    with Cluster(site="here", memory="300MB", walltime="5 min", interface="lo", n_workers=1) as cluster:
        path.unlink()
        with Client(cluster) as client:
            client.wait_for_workers(1, timeout=120)
            assert client.submit(os.getenv, "SLURM_JOB_PARTITION").result(timeout=60) == "short"
