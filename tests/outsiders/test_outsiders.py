"""A package written from the guide, with nothing but corral installed: its own tests, away from this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent

#: pytest-randomly and the like are ours, and so are the settings in our pyproject.toml.
PYTEST = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:randomly", "-p", "no:cacheprovider"]


@pytest.fixture(scope="module")
def tsp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """corral-tsp, a copy of it, with its wheel installed beside it."""
    place = shutil.copytree(HERE / "tsp", tmp_path_factory.mktemp("outsider") / "corral-tsp")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # What it needs is here: an environment of its own would take a minute, and hold the same.
    target = f"--target={place / 'installed'}"
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--no-index", target, "."], cwd=place, check=True)
    shutil.rmtree(place / "src")
    return place


def run(place: Path, *words: str, **environment: str) -> str:
    path = os.pathsep.join(filter(None, [str(place / "installed"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        words,
        cwd=place,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return done.stdout


def test_a_backend_written_from_the_guide_keeps_the_laws(tsp: Path) -> None:
    """It is found by its entry point, and all laws hold on what the real Task Spooler answered."""
    listed = run(tsp, sys.executable, "-m", "corral", "backends")
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("tsp ")] == ["corral-tsp"]
    # Not again through a site: that tries whether a site's commands reach it, which the packages here do.
    said = run(tsp, *PYTEST, "tests/test_tsp_conformance.py", "-k", "not through", CORRAL_EXAMPLES="2")
    assert " passed" in said
    assert "failed" not in said


@pytest.mark.real("tsp")
def test_a_backend_written_from_the_guide_runs(tsp: Path) -> None:
    """Its author's own test on the real thing: nothing of it is skipped."""
    said = run(tsp, *PYTEST, "tests/test_tsp_real.py")
    assert "skipped" not in said
    assert " passed" in said


@pytest.mark.real("tsp")
def test_a_backend_written_from_the_guide_keeps_the_live_laws(tsp: Path) -> None:
    """In a queue of its own, as its README says."""
    with tempfile.TemporaryDirectory(prefix="tsp-") as folder:
        queue = {"TS_SOCKET": f"{folder}/socket", "TMPDIR": folder, "TS_SLOTS": "32"}
        live = ["-p", "corral.testing.live", "--live", "tests/test_tsp_conformance.py", "-k", "test_live_"]
        try:
            said = run(tsp, *PYTEST, *live, **queue)
        finally:
            subprocess.run(["tsp", "-K"], env={**os.environ, **queue}, check=True)
    assert " passed" in said
