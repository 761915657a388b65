"""docs/libraries.md: the package that it shows is one that works, with corral and without."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "docs/examples/library"


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(LIBRARY / "src"), os.environ.get("PYTHONPATH", "")]))
    environ = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "XDG_STATE_HOME": str(cwd / "state")}
    command = [sys.executable, *words]
    return subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, check=False, timeout=150)


@pytest.mark.timeout(180)
def test_its_tests_pass(tmp_path: Path) -> None:
    """As its author runs them."""
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={LIBRARY}", str(LIBRARY / "tests"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_without_corral_all_else_works_and_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['corral'] = None\n"
        "from tides import tidal_ranges\n"
        "print(tidal_ranges([[1.0, 3.0]]))\n"
        "tidal_ranges([[1.0, 3.0]], jobs={})\n"
    )
    done = run("-c", code, cwd=tmp_path)
    assert done.stdout == "[2.0]\n"
    assert done.stderr.endswith("ImportError: jobs= needs corral: pip install 'tides[jobs]'\n")


def test_the_extra_is_the_one_that_the_error_names() -> None:
    project = tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"] == {"jobs": ["corral"]}
