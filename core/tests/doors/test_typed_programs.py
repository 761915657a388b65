"""Programs with types, as people write them: `nox -s types` checks what they say, and here they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "typed"


@pytest.mark.parametrize("name", sorted(path.name for path in PROGRAMS.glob("*.py")))
def test_a_typed_program_runs(name: str, tmp_path: Path) -> None:
    """What type checkers are told is so."""
    done = subprocess.run(
        [sys.executable, PROGRAMS / name, tmp_path / "queue"],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"program.py": "there is no cluster 'nobody'", "on_a_loop.py": "closed"}[name] in done.stdout
