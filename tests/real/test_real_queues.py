"""queue="auto" on a real Slurm, and why a job waits there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from real_life import small_jobs

from corral import Cluster, JobState, WorkerGroup
from corral.batch import queues
from corral.errors import InvalidRequest
from corral.request.drawing import draw

pytestmark = [
    pytest.mark.real("slurm"),
    pytest.mark.needs("testbed"),
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("slurm", "state_directory"),
]

Eventually = Callable[..., None]


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    """What another test has asked is not known."""
    queues.forget()
    yield
    queues.forget()


def cluster(**arguments: Any) -> Cluster:
    return Cluster(**small_jobs(**arguments))


def run(*words: str) -> str:
    return subprocess.run([sys.executable, "-m", "corral", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("asked", "queue"),
    [
        ({"walltime": "5 min"}, "short"),
        ({"walltime": "1h"}, "batch"),
        ({"walltime": "5 min", "gpus": 2}, "makers"),
        ({"walltime": "5 min", "gpus": 3}, "gpu"),
    ],
)
def test_the_tightest_partition_is_chosen(asked: dict[str, Any], queue: str) -> None:
    """By what sinfo and scontrol say: nodes of gpu have four GPUs, those of makers two."""
    blueprint = draw(small_jobs(**asked, queue="auto"))
    assert blueprint.groups["default"].queue == queue
    assert f"#SBATCH --partition={queue}" in str(blueprint.script())


def test_a_job_that_no_partition_takes_is_not_submitted() -> None:
    """It would be refused, or wait for ever."""
    with pytest.raises(InvalidRequest, match=r"short \(walltime= is at most 10 min\)"):
        draw(small_jobs(queue="auto", cores=65, walltime="1h"))


@pytest.mark.needs("control")
def test_a_partition_that_starts_nothing_is_passed_over(slurm: Any) -> None:
    """It takes jobs, which would wait for its administrator."""
    slurm.run("scontrol", "update", "PartitionName=short", "State=DOWN")
    try:
        assert draw(small_jobs(queue="auto", walltime="5 min")).groups["default"].queue == "batch"
        asked = run("queues", "--backend", "slurm", "--walltime", "5 min")
        assert re.search(r"^short .* it starts no jobs now$", asked, re.MULTILINE)
        assert re.search(r"^short .* starts none$", run("queues", "--backend", "slurm"), re.MULTILINE)
    finally:
        slurm.run("scontrol", "update", "PartitionName=short", "State=UP")


def test_jobs_that_do_not_wait_are_explained(slurm: Any, eventually: Eventually) -> None:
    """Running, ended, and such that Slurm does not know: also in a shell."""
    with cluster(walltime="5 min") as c:
        c.scale(jobs=2)
        c.wait_for_workers(2, timeout=90)
        first, second = (record.id.text for record in c.jobs)
        head = f"job {first} of group 'default' of cluster '{c.name}' is running:\n  since 20"
        eventually(lambda: run("explain", first).startswith(head), lambda: run("explain", first), timeout=60)
        here = r"on n\d, until .* at most; 1 of 1 workers are here$"
        # What other processes know of workers is a few seconds old.
        eventually(lambda: bool(re.search(here, why(first))), lambda: why(first), timeout=60)
        assert str(c.explain(first)).endswith("1 of 1 workers are here")
        slurm.run("scancel", second)
        eventually(lambda: bool(re.search(r"^CANCELLED.*, on n\d", why(second))), lambda: why(second), timeout=30)
        assert run("explain", second, "--backend", "slurm") == run("explain", second)
    done = subprocess.run(
        [sys.executable, "-m", "corral", "explain", "987654_9", "--backend=slurm"], check=False, stderr=subprocess.PIPE
    )
    assert done.stderr == b"corral: neither your clusters nor slurm know of a job 987654_9\n"


def why(job: str) -> str:
    return str(json.loads(run("explain", job, "--json"))["why"])


def test_jobs_run_where_they_were_put(slurm: Any) -> None:
    """Also those of a group that came later."""
    with cluster(queue="auto", walltime="5 min") as c:
        c.scale(1)
        c.wait_for_workers(1, timeout=90)
        c.add_group("gpu", WorkerGroup(queue="auto", memory="200MB", gpus=3, walltime="5 min"))
        c.scale(gpu=1)
        c.wait_for_workers(2, timeout=90)
        ids = ",".join(job.id.text for job in c.jobs)
        assert sorted(slurm.run("squeue", "-h", "-r", "-j", ids, "-o", "%P").split()) == ["gpu", "short"]


def test_a_job_that_waits_is_explained(eventually: Eventually) -> None:
    """With Slurm's own estimate, once it has made one; the same in Python and in a shell."""
    with cluster(cores=64, processes=1, walltime="5 min", queue="auto") as c:
        c.scale(jobs=4)
        c.wait_for_workers(3, timeout=90)
        [job] = [record.id.text for record in c.jobs if record.state is JobState.PENDING]
        eventually(
            lambda: "Slurm expects to start it at" in c.explain(job)[0].why, lambda: str(c.explain(job)), timeout=90
        )
        [found] = c.explain()
        assert (found.job, found.group, found.never_starts) == (job, "default", False)
        assert found.queues == "queue 'short' has 0 of 3 nodes free", "nobody is sent to GPUs without need"
        assert f"job {job}: " in repr(c)
        assert found.choice.startswith("queue 'short': the tightest of those that take the job (at most 10 min")
        eventually(lambda: job in run("explain"), lambda: run("explain"), timeout=90)
        told = json.loads(run("explain", job, "--json"))
        assert (told["job"], told["cluster"], told["queues"]) == (job, c.name, found.queues)
        assert told["expected_start"] == pytest.approx(time.time() + 300, abs=300)


def test_a_job_that_corral_did_not_submit_is_explained(slurm: Any) -> None:
    """It is Slurm's, whoever submitted it."""
    job = slurm.run("sbatch", "--parsable", "--hold", "--wrap", "true").split()[-1]
    try:
        said = run("explain", job, "--backend", "slurm")
        assert re.fullmatch(rf"job {job}:\n  it is held: 'scontrol release' releases it.*\n", said)
    finally:
        slurm.run("scancel", job)


def test_partitions_are_listed() -> None:
    """As a person would compare them."""
    table = run("queues", "--backend", "slurm", "--walltime", "1h", "--gpus", "1").splitlines()
    names = ["batch*", "gpu", "makers", "preempt", "short"]
    assert [line.split()[0] for line in table] == ["queue", *names, "*", 'queue="auto"']
    assert table[1].endswith("no GPUs")
    assert table[5].endswith("walltime= is at most 10 min")
    assert table[7].startswith("queue=\"auto\" means 'makers': the tightest of those that take the job")
    assert max(map(len, table[:7])) <= 80
