"""Collects what benchmarks measure; at the end it is printed, and after a whole run written to docs/benchmarks.md."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from figures import Figures, write_page

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
FIGURES = Figures()
#: Benchmarks that were to run, and that did.
WANTED: set[str] = set()
DONE: set[str] = set()
#: What was measured on, as it was before the first measurement.
MACHINE: list[str] = []


@pytest.fixture
def figures() -> Figures:
    """Where a benchmark puts what it has measured."""
    return FIGURES


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("bench"):
        WANTED.add(item.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "setup" and not MACHINE and report.nodeid in WANTED:
        MACHINE.append(machine(os.getloadavg()[0]))
    if report.when == "call" and report.passed and report.nodeid in WANTED:
        DONE.add(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if FIGURES.is_empty:
        return
    text = f"{MACHINE[0]}\n\n{FIGURES.markdown()}"
    terminalreporter.section("figures")
    terminalreporter.write_line(text)
    if missing := len(WANTED - DONE):
        terminalreporter.write_line(f"{PAGE.name} is left as it is: {missing} benchmarks were not run to their end")
    elif config.args_source is not pytest.Config.ArgsSource.ARGS:
        write_page(PAGE, text)
        terminalreporter.write_line(f"written to {PAGE.name}")


def machine(load: float) -> str:
    """What was measured on, in words that name nobody's host."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("distributed", "dask-jobqueue", "dask-mpi"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    if (sinfo := shutil.which("sinfo")) is not None and (slurm := _said([sinfo, "--version"])):
        versions.append(slurm.replace("slurm-wlm", "Slurm"))
    size = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory"
    quiet = "nothing else ran" if load < 0.5 else "other work ran beside it, which makes every figure noisy"
    return (
        f"Measured on {datetime.datetime.now(datetime.UTC):%d %B %Y}: {size}, {platform.system()} "
        f"{platform.machine()}, {', '.join(versions)}. Load average before the first measurement: {load:.1f} ({quiet})."
    )


def _said(command: Sequence[str]) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
