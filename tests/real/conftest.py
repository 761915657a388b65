"""What the tests on real batch systems share."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import psutil
import pytest


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of the test's own, and room for its many questions."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with dask.config.set({"corral.commands-per-minute": 1000}):
        yield tmp_path / "corral"


@pytest.fixture
def leaves_nothing(state_directory: Path) -> Iterator[None]:
    """After the test there is no process, temporary file, credential or log of a job that did well."""
    before = _traces()
    yield
    _eventually(lambda: not _traces() - before, lambda: f"left behind: {sorted(_traces() - before)}")
    left = [path for path in state_directory.rglob("*") if path.is_file() and not path.name.startswith("commands-")]
    assert left == []


def _traces() -> set[str]:
    processes = {
        f"process {process.pid} {' '.join(line)}" for process in psutil.process_iter() if (line := _ours(process))
    }
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    return processes | {str(path) for pattern in ("corral-*", "dask-*", "pymp-*") for path in temporary.glob(pattern)}


def _ours(process: psutil.Process) -> list[str]:
    try:
        line = process.cmdline()
    except psutil.Error:
        return []
    return line if "corral.launch" in line else []


def _eventually(condition: Callable[[], bool], complaint: Callable[[], str], timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.1)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fail with what `complaint` says."""

    def wait(
        condition: Callable[[], bool],
        complaint: Callable[[], str] = lambda: "it never came true",
        timeout: float = 30.0,
    ) -> None:
        _eventually(condition, complaint, timeout)

    return wait


class Slurm:
    """Slurm as an operator sees it."""

    def queue(self) -> dict[str, str]:
        """State of every job that has not ended, by id."""
        rows = self.run("squeue", "-h", "-r", "-o", "%i %T").split("\n")
        return dict(row.split(" ", 1) for row in rows if row)

    def run(self, *command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def pid_file(self, option: str, node: str = "") -> Path:
        for line in self.run("scontrol", "show", "config").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == option:
                return Path(value.strip().replace("%n", node))
        raise AssertionError(f"slurm.conf has no {option}")


@pytest.fixture
def slurm() -> Slurm:
    return Slurm()
