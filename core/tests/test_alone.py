"""Jobs that are submitted one by one, as the core hears of them; shell scripts stand in for Slurm's commands."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from corral import Cluster
from corral.batch.budget import CommandBudget
from corral.batch.client import BatchSystem
from corral.cli import main
from corral.errors import LimitReached
from corral.host.shared import Shared
from corral.plugin import Job, JobId, discovery

#: Writes down each job that it takes; says what happens to the Nth submission by $FATE.
SBATCH = """\
#!/bin/bash
name=$(grep -oPm1 '#SBATCH --job-name=\\K.*')
case "$*" in *--array*) echo "sbatch: error: no job arrays on this machine, please" >&2; exit 1;; esac
number=$(( $(wc -l <"{jobs}") + 1 ))
{fate}
echo "$number|PENDING|$name|" >>"{jobs}"
{answer}
echo "$number"
"""
SQUEUE = """\
#!/bin/bash
case "$*" in *-j*) sed 's/[^|]*|$/0:0|||||None|/' "{jobs}";; *) cat "{jobs}";; esac
"""
SCANCEL = """\
#!/bin/bash
for number; do sed -i "s/^$number|PENDING/$number|CANCELLED/" "{jobs}"; done
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """The jobs that Slurm knows, a line each."""
    known = tmp_path / "jobs"
    known.touch()
    return known


@pytest.fixture
def slurm(tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> BatchSystem:
    """A site that refuses arrays, and allows no more than one command a minute."""
    fate, answer = getattr(request, "param", ("", ""))
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL}.items():
        (tmp_path / name).write_text(text.format(jobs=jobs, fate=fate, answer=answer))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    budget = CommandBudget(1, Shared(tmp_path / "host"))
    return BatchSystem(backend="slurm", manager=discovery.load("slurm"), budget=budget)


def ids(*numbers: int) -> list[JobId]:
    return [JobId(str(number)) for number in numbers]


async def test_no_job_waits_for_the_command_budget(slurm: BatchSystem) -> None:
    """Twenty submissions for one wish, and the attempt at an array: a person waits for them."""
    script = slurm.render(Job(name="dask-1"))
    submission = await slurm.submit(script, 1000)
    assert (submission.ids, submission.is_certain) == (ids(*range(1, 21)), True)
    assert (await slurm.submit(script, 1000)).ids == ids(*range(21, 41))


@pytest.mark.parametrize(
    "slurm", [("", '[ "$number" != 3 ] || { echo "sbatch: error: Socket timed out" >&2; exit 1; }')], indirect=True
)
async def test_a_job_of_which_nobody_knows_is_found_with_those_before_it(slurm: BatchSystem, jobs: Path) -> None:
    """The third was taken, and the answer was lost: none is submitted twice, and more are looked for later."""
    submission = await slurm.submit(slurm.render(Job(name="dask-1")), 5)
    assert (submission.ids, submission.is_certain) == (ids(1, 2, 3), False)
    assert await asyncio.to_thread(jobs.read_text) == "".join(f"{number}|PENDING|dask-1|\n" for number in (1, 2, 3))


@pytest.mark.parametrize(
    "slurm", [('[ "$number" != 3 ] || { echo "QOSMaxSubmitJobPerUserLimit" >&2; exit 1; }', "")], indirect=True
)
async def test_a_limit_that_is_reached_on_the_way_is_met_again(slurm: BatchSystem) -> None:
    """Those before it are known for certain; whoever asks for the rest hears of the limit."""
    script = slurm.render(Job(name="dask-1"))
    submission = await slurm.submit(script, 5)
    assert (submission.ids, submission.is_certain) == (ids(1, 2), True)
    with pytest.raises(LimitReached):
        await slurm.submit(script, 3)


@pytest.mark.parametrize("slurm", [("", '[ "$number" != 3 ] || exec sleep 1000')], indirect=True)
@pytest.mark.usefixtures("slurm")
def test_a_cluster_that_closes_in_the_middle_of_a_row_leaves_no_job(
    tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The third submission never ends: it is cut off, all three are found by their name, and are seen to their end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("corral.cluster.cluster.CLOSE_TIMEOUT", 8.0)
    options = {"arrays": False}
    with Cluster(backend="slurm", backend_options=options, cores=1, memory="1GB", interface="lo") as cluster:
        cluster.scale(5)
        while jobs.read_text().count("PENDING") < 3:
            time.sleep(0.1)
    assert jobs.read_text().count("CANCELLED") == 3
    assert "PENDING" not in jobs.read_text()
    assert not [record.message for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("said", ["false", "False"])
def test_a_command_takes_the_option_as_json_and_as_python_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """It is copied from either."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    words = ["script", "--backend=slurm", "--memory=1GB", f"--backend-option=arrays={said}"]
    assert "/%j.log" in CliRunner().invoke(main, words).output
