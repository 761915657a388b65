"""What the tests share: a state directory of their own, and nothing that another test was told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask.config
import pytest

from corral_jobqueue import ChangedWarning, JobQueueCluster, LocalCluster, cluster


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state directory of the test's own, and room for its many questions."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PBS_ACCOUNT", raising=False)
    with dask.config.set({"corral.commands-per-minute": 1000}):
        yield


@pytest.fixture
def quiet() -> Iterator[None]:
    """What corral does otherwise than dask-jobqueue is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChangedWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is different is told once in a process: here, in a test."""
    monkeypatch.setattr(cluster, "_TOLD", set())


@pytest.fixture
def section() -> Iterator[Callable[..., None]]:
    """Sets a section of the configuration: ``section("slurm", queue="batch")``."""
    with ExitStack() as stack:

        def write(name: str, /, **said: Any) -> None:
            written = {key.replace("_", "-"): value for key, value in said.items()}
            stack.enter_context(dask.config.set({f"jobqueue.{name}": written}))

        yield write


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., JobQueueCluster]:
    """Makes clusters on a queue of the test's own."""

    def make(cls: type[JobQueueCluster] = LocalCluster, **said: Any) -> JobQueueCluster:
        given = {"cores": 1, "memory": "300MB", "interface": "lo", **said}
        queue = {"directory": str(tmp_path / "queue"), "cores": 4, "memory": "4GB"}
        with dask.config.set({"corral.backends.local.backend_options": queue}):
            return cls(**given)

    return make
