"""Why a job waits: `cluster.explain`, `corral explain`, and what is told while one waits for workers."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner

from corral import Cluster, WorkerGroup, hookimpl
from corral.cli import main, patience
from corral.cluster import explaining
from corral.cluster.registry import Entry, JobLine
from corral.errors import WorkersNotReady
from corral.host.identity import Identity
from corral.jobs import group as groups
from corral.plugin import answered
from corral.plugin.values import Job, JobId, JobState, JobStatus, Queue
from corral.request.drawing import batch_system

#: Its jobs live until they are cancelled, and start no workers.
IDLE = "#!/bin/sh\nexec sleep 1000\n"


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own; and however busy the machine is, nobody is asked for patience."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(patience, "SILENT_FOR", 60.0)
    return tmp_path / "state" / "corral"


@pytest.fixture
def crowded(tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters on a queue of the test's own that has room for one of their jobs."""
    program = tmp_path / "python"
    program.write_text(IDLE)
    program.chmod(0o755)

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 4, "memory": "1GB"}
        return Cluster(
            **{
                "backend": "local", "interface": "lo", "backend_options": options, "python": str(program),
                "cores": 3, "processes": 1, "memory": "200MB", **arguments,
            }
        )  # fmt: skip

    return make


def until_one_runs(cluster: Cluster) -> None:
    """Have one job that leaves no room for others."""
    cluster.scale(jobs=1)
    deadline = time.monotonic() + 30
    while not any(job.state is JobState.RUNNING for job in cluster.jobs):
        assert time.monotonic() < deadline, cluster.jobs
        time.sleep(0.02)


def until_one_waits(cluster: Cluster) -> str:
    """Have two jobs, of which there is room for one; the id of the other, when the batch system has said so."""
    cluster.scale(jobs=2)
    deadline = time.monotonic() + 30
    while True:
        waiting = [job for job in cluster.jobs if job.state is JobState.PENDING and job.reason]
        if len(waiting) == 1 and any(job.state is JobState.RUNNING for job in cluster.jobs):
            return str(waiting[0].id)
        assert time.monotonic() < deadline, cluster.jobs
        time.sleep(0.02)


# --- a cluster's own jobs ---------------------------------------------------------------------------------------


class Emptier:
    """A site that has another queue."""

    @hookimpl(wrapper=True)
    def describe_queues(self) -> Generator[None, Any, Any]:
        yield
        own = Queue(name="local", is_default=True, nodes=1, free_nodes=0)
        return answered([own, Queue(name="other", nodes=9, free_nodes=9)])


def test_a_cluster_explains_its_waiting_job(crowded: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """And how another stands; in its words, in the repr, and with the queues' state."""
    with crowded(plugins=[Emptier()], walltime="1h", queue="local") as c:
        job = until_one_waits(c)
        [found] = c.explain()
        assert (found.job, found.group, found.state) == (job, "default", JobState.PENDING)
        assert re.fullmatch(r"it is the next; it starts at .* or earlier", found.why)
        assert found.expected_start == pytest.approx(time.time() + 3600, abs=60)
        assert found.queues == (
            "queue 'local' has 0 of 1 nodes free; others that take such jobs have more: other (9 free)"
        )
        assert c.explain(job) == c.explain(c.jobs[-1].id) == (found,)
        assert f"job {job}: it is the next; it starts at" in repr(c)
        with monkeypatch.context() as later:
            later.setattr(groups, "EXPLAINED_AGAIN", 0.0)
            assert "it is the next" not in repr(c), "nobody is told for hours when it should have started"
        [other] = c.explain(next(record for record in c.jobs if record.id.text != job))
        assert other.why.startswith("running on ")
        assert other.expected_start is None
        with pytest.raises(LookupError, match="has no job 99"):
            c.explain("99")


def test_a_cluster_explains_why_a_group_has_no_jobs(crowded: Callable[..., Cluster]) -> None:
    """The batch system has refused them."""
    with crowded(memory="2GB") as c:
        with pytest.raises(Exception, match="memory"):
            c.scale(jobs=1)
            c.wait_for_workers(1, timeout=30)
        [found] = c.explain()
        assert (found.job, found.state) == ("", None)
        assert "memory" in found.why
        c.scale(0)
        assert c.explain() == ()


def test_whoever_waits_for_workers_hears_why_after_a_while(
    crowded: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody sits before a silent prompt for hours."""
    monkeypatch.setattr(explaining, "TOLD_AFTER", 0.01)
    with crowded(walltime="1h") as c:
        job = until_one_waits(c)
        with pytest.raises(WorkersNotReady, match=f"job {job}: it is the next; it starts at"):
            c.wait_for_workers(2, timeout=3)
        told = [record.getMessage() for record in caplog.records if "still waiting" in record.getMessage()]
        assert len(told) == 1, "once, and not every moment"
        assert f"still waiting for workers: job {job} of group 'default'" in told[0]


def test_a_cluster_asks_by_itself_and_shows_the_answer(
    crowded: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question for a group of which nothing has ever started."""
    monkeypatch.setattr(groups, "EXPLAINED_AFTER", 0.0)
    with crowded(walltime="1h") as first:
        until_one_runs(first)
        with crowded(walltime="1h") as c:
            c.scale(jobs=1)
            deadline = time.monotonic() + 30
            while "it is the next; it starts at" not in repr(c):
                assert time.monotonic() < deadline, repr(c)
                time.sleep(0.02)


def test_a_handle_asks_the_engine(crowded: Callable[..., Cluster]) -> None:
    """Which is where the batch system is; `corral explain` asks it itself."""
    own = {"python": sys.executable, "memory": "300MB"}
    with crowded(walltime="1h", scheduler="job", scheduler_options=own, name="far", queue="auto") as c:
        assert c.groups["default"].queue == "local"
        job = until_one_waits(c)
        [found] = c.explain()
        assert (found.job, found.cluster) == (job, "far")
        assert re.fullmatch(r"it is the next; it starts at .* or earlier", found.why)
        assert found.queues == "queue 'local' has 0 of 1 nodes free"
        assert found == c.explain(job)[0]
        c.add_group("more", WorkerGroup(queue="auto", memory="100MB"))
        assert "more" in c.groups


def test_whoever_waits_for_a_schedulers_job_hears_why(
    crowded: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands in the same queue as everything else."""
    monkeypatch.setattr(explaining, "TOLD_AFTER", 0.5)
    own = {"python": sys.executable, "memory": "300MB", "cores": 4}
    with crowded(walltime="1h") as first:
        until_one_runs(first)
        told: list[str] = []
        first.loop.add_callback(_let_go_when_told, first, caplog, told)  # type: ignore[union-attr] # it runs
        with crowded(scheduler="job", scheduler_options=own, name="far"):
            [words] = told
    assert re.search(r"cluster far: still waiting for its scheduler: job \S+ is pending: it is the next; it st", words)


async def _let_go_when_told(cluster: Cluster, caplog: pytest.LogCaptureFixture, told: list[str]) -> None:
    """Give up what another cluster waits for, as soon as it says that it waits."""
    while not told:
        told += [line for record in caplog.records if "still waiting for" in (line := record.getMessage())][:1]
        await asyncio.sleep(0.02)
    cluster.scale(0)


# --- from another process ---------------------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["explain", *words])
    return done.exit_code, done.output


def test_the_command_explains_jobs_of_living_clusters(crowded: Callable[..., Cluster]) -> None:
    """It finds them in the registry, and asks the batch system."""
    assert run() == (0, "No cluster is registered.\n")
    with crowded(walltime="1h", name="mine") as c:
        job = until_one_waits(c)
        deadline = time.monotonic() + 30
        while job not in run()[1]:
            assert time.monotonic() < deadline, run()
            time.sleep(0.2)
        code, text = run()
        assert code == 0
        head, why, queues = text.splitlines()
        assert head == f"job {job} of group 'default' of cluster 'mine' is pending:"
        assert re.fullmatch(r"  it is the next; it starts at .* or earlier", why)
        assert queues == "  queue 'local' has 0 of 1 nodes free"
        running = next(record.id.text for record in c.jobs if record.state is JobState.RUNNING)
        found = json.loads(run(running, "--json")[1])
        assert found["state"] == "running"
        assert re.fullmatch(r"since .*, on .*, until .* at most; 0 of 1 workers are here", found["why"])
        assert run(job) == run(job, "--cluster=mine") == (0, text)
        found = json.loads(run(job, "--json")[1])
        assert (found["job"], found["state"], found["cluster"]) == (job, "pending", "mine")
        assert found["expected_start"] == pytest.approx(time.time() + 3600, abs=60)
        assert run("--cluster=other")[0] == 1
        assert "cluster 'mine' has no job '99'" in run("99", "--cluster=mine")[1]


def test_the_command_explains_jobs_of_which_no_cluster_knows(crowded: Callable[..., Cluster], tmp_path: Path) -> None:
    """The batch system itself is asked, which knows nothing of groups."""
    where = ("--backend=local", f"--backend-option=directory={tmp_path / 'queue'}")
    with crowded(walltime="1h") as c:
        job = until_one_waits(c)
        c._registration.remove()
        code, text = run(job, *where)
        assert code == 0
        assert text.startswith(f"job {job} is pending:\n  it is the next; it starts at")
        # As it is while a scheduler's job waits, of which there is no more in the registry.
        options = {"directory": str(tmp_path / "queue")}
        Entry(
            name="far", uuid="0" * 32, backend="local", backend_options=options, process=Identity.nobody(),
            scheduler="job", scheduler_job=job,
        ).write()  # fmt: skip
        assert run()[1].startswith(f"job {job} of cluster 'far' is pending:\n  it is the next")
        code, text = run("99.0", *where)
        assert code == 1
        assert "neither your clusters nor local know of a job 99.0" in text


def test_the_command_says_what_keeps_clusters_small_that_have_no_waiting_job(
    crowded: Callable[..., Cluster],
) -> None:
    """As `corral ps --why` does."""
    line = JobLine(id="1", group="default", state="running")
    Entry(name="old", uuid="0" * 32, backend="local", jobs=[line], why={"default": "1 job wanted: nothing"}).write()
    assert run() == (0, "cluster 'old' has no job that waits (default: 1 job wanted: nothing)\n")


def test_a_batch_system_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """Of each job; the other clusters are told of all the same."""
    line = JobLine(id="1.0", group="default", state="pending")
    (tmp_path / "file").touch()
    options = {"directory": str(tmp_path / "file")}
    Entry(name="old", uuid="0" * 32, backend="local", backend_options=options, jobs=[line]).write()
    code, text = run()
    assert code == 0
    assert text.startswith("job 1.0 of group 'default' of cluster 'old':\n  not known: ")


@pytest.fixture
def silent_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Commands of Slurm that have nothing to say; gives a function that tells which have been called."""
    pytest.importorskip("corral_slurm")
    calls, folder = tmp_path / "calls", tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scontrol", "sinfo", "sacct"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} >>"{calls}"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return lambda: calls.read_text().split() if calls.exists() else []


def ledger(state_directory: Path) -> list[str]:
    """Of what kinds the commands were that all processes of this user have written down."""
    [file] = state_directory.glob("hosts/*/commands.json")
    return [kind for _, kind, _ in json.loads(file.read_text())["commands"]]


async def test_a_question_waits_for_the_command_budget_once(
    silent_slurm: Callable[[], list[str]], state_directory: Path
) -> None:
    """What the queues have free belongs to it."""
    batch, _ = batch_system({"backend": "slurm"})
    status, asked = JobStatus(state=JobState.PENDING, reason="Priority"), Job(name="asked", queue="q")
    found = await explaining.explain(batch, JobId("7_0"), status, asked=asked, identity="x", since=time.monotonic())
    assert (found.why, found.queues) == ("Priority", "")
    assert silent_slurm() == ["squeue", "sinfo", "scontrol"]
    assert ledger(state_directory) == ["question", "more", "more"]
    assert (
        await explaining.explain(batch, JobId("7_0"), JobStatus(state=JobState.RUNNING, hosts=["n1"]))
    ).why == "on n1"
    assert len(silent_slurm()) == 3, "of a job that does not wait, nothing is asked"
    held = evolve(status, state=JobState.HELD, reason="JobHeldUser")
    assert (await explaining.explain(batch, JobId("7_0"), held, asked=asked, identity="y")).why == "JobHeldUser"
    assert len(silent_slurm()) == 4, "no queue starts what is held"


def test_one_poll_serves_all_jobs_of_a_batch_system(
    silent_slurm: Callable[[], list[str]], state_directory: Path
) -> None:
    """And it is written into the ledger of commands, which all processes of a user share."""
    for cluster in ("a", "b"):
        lines = [
            JobLine(id=f"7_{cluster}{number}", group=f"g{number}", state="pending", has_ended=False)
            for number in range(3)
        ]
        Entry(name=cluster, uuid=cluster * 32, backend="slurm", jobs=lines).write()
    code, text = run()
    assert (code, text.count("slurm does not list it any more, or not yet")) == (0, 6)
    assert silent_slurm().count("squeue") == 1
    assert len(ledger(state_directory)) == len(silent_slurm())
    ended = JobLine(id="8_0", group="g", state="failed", exit_code=3, has_ended=True)
    Entry(name="c", uuid="c" * 32, backend="slurm", jobs=[ended]).write()
    assert run("8_0")[1].endswith("  it has ended (failed, exit code 3), and slurm does not list it any more\n")
    assert "neither your clusters nor local know of a job 8_0" in run("8_0", "--backend=local")[1], "it is another's"
