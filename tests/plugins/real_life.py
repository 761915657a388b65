"""Fixtures for tests on real batch systems."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.config
import psutil
import pytest
import setups

if TYPE_CHECKING:
    from corral import Cluster


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of the test's own, and room for its many questions."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with dask.config.set({"corral.commands-per-minute": 1000}):
        yield tmp_path / "corral"


@pytest.fixture
def leaves_nothing(state_directory: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After the test there is no process, temporary file, credential or log of a job that did well."""
    before = _temporary_files()
    yield

    def left_behind() -> set[str]:
        return _processes(state_directory) | (_temporary_files() - before)

    wait_until(lambda: not left_behind(), lambda: f"left behind: {sorted(left_behind())}")
    # Logs of failed jobs are evidence; the ledger of commands, and what is known of waits, belong to all clusters.
    left = [path for path in state_directory.rglob("*") if path.is_file() and path.parent.parent.name != "logs"]
    left = [path for path in left if path.parent.name not in ("waits", "journals")]
    left = [path for path in left if path.parent.parent.name != "hosts" and path.name != "CORRALDIR.TAG"]
    # An entry in the registry says which jobs were not seen to end, and corral's log why.
    found = [f"{path}: {path.read_text(errors='replace')[:10_000]}" for path in left]
    found += [record.getMessage() for record in caplog.get_records("call") if record.name.startswith("corral")]
    assert not left, "\n".join(found)


def _processes(state_directory: Path) -> set[str]:
    """Processes of jobs whose credentials were in this directory."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(state_directory) in word for word in process.cmdline()):
                found.add(f"process {process.pid}: {' '.join(process.cmdline())}")
    return found


def _temporary_files() -> set[str]:
    """All but those that a process has in use, and the folder that Dask makes once and keeps."""
    folder = Path(tempfile.gettempdir())
    found = {path for pattern in ("corral-*", "dask-*", "pymp-*") for path in folder.glob(pattern)}
    in_use = _open_files() if found else set()
    return {
        str(path)
        for path in found
        if not path.name.startswith("dask-scratch-space") and not {path, path / "lock"} & in_use
    }


def _open_files() -> set[Path]:
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found |= {Path(file.path) for file in process.open_files()}
    return found


def wait_until(condition: Callable[[], bool], complaint: Callable[[], str], timeout: float = 15.0) -> None:
    """Return when a condition holds; fail with what `complaint` says."""
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
        wait_until(condition, complaint, timeout)

    return wait


def small_jobs(**arguments: Any) -> dict[str, Any]:
    """Arguments of a cluster of small jobs on the real Slurm."""
    return setups.of("slurm").arguments(**arguments)


def jobqueue_jobs(**arguments: Any) -> dict[str, Any]:
    """The same for corral-jobqueue, in dask-jobqueue's words."""
    given = small_jobs(**arguments)
    del given["backend"]
    if "backend_options" in given:
        pytest.skip("slurm: dask-jobqueue's words have none for backend_options", allow_module_level=True)
    names = {"extra_directives": "job_extra_directives", "prologue": "job_script_prologue"}
    return {names.get(name, name): value for name, value in given.items()}


def slurm_cluster(**arguments: Any) -> Cluster:
    """A cluster of small jobs on the real Slurm, whose workers know the tests' own tasks."""
    from corral import Cluster

    env = {"PYTHONPATH": str(Path(__file__).parent), **arguments.pop("env", {})}
    return Cluster(**small_jobs(**arguments, env=env))


class Slurm:
    """Slurm as an operator sees it: by the commands that were first on PATH when the test began."""

    def __init__(self) -> None:
        self._path = os.environ["PATH"]

    def queue(self, cluster: str = "", states: str = "") -> dict[str, str]:
        """State of every job that has not ended, by id; of one cluster, if its name is given."""
        which = ["-t", states] if states else []
        rows = [row.split(maxsplit=2) for row in self.run("squeue", "-h", "-r", "-o", "%i %T %j", *which).splitlines()]
        return {job: state for job, state, name in rows if name.startswith(cluster)}

    def run(self, *command: str) -> str:
        line = [self.program(command[0]), *command[1:]]
        return subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout

    def exit_code(self, job: str, timeout: float = 120.0) -> int:
        """Of a job, when it has ended: `sbatch --wait` may notice that ten seconds late."""
        said = ""

        def has_ended() -> bool:
            nonlocal said
            said = self.run("scontrol", "show", "job", "--oneliner", job)
            return re.search(r"JobState=(PENDING|RUNNING|COMPLETING)", said) is None

        wait_until(has_ended, lambda: said, timeout)
        found = re.search(r" ExitCode=(\d+):", said)
        assert found, said
        return int(found[1])

    def program(self, name: str) -> str:
        """Where a command is."""
        found = shutil.which(name, path=self._path)
        assert found is not None, f"there is no {name}"
        return found

    def pid_file(self, option: str, node: str = "") -> Path:
        for line in self.run("scontrol", "show", "config").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == option:
                return Path(value.strip().replace("%n", node))
        raise AssertionError(f"slurm.conf has no {option}")


@pytest.fixture
def slurm() -> Slurm:
    return Slurm()
