"""A person's day with a cluster on a real Slurm."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import setups
from attrs import evolve
from distributed import Client, KilledWorker
from real_life import small_jobs

from corral import Cluster, JobState
from corral.cluster import kept_logs
from corral.errors import InvalidRequest, JobsFailed, NeverStarts, SubmitRejected
from corral_slurm import Slurm

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(180)]

Eventually = Callable[..., None]


def cluster(**arguments: Any) -> Cluster:
    return Cluster(**small_jobs(**arguments))


@pytest.mark.needs("arrays")
@pytest.mark.usefixtures("leaves_nothing")
def test_four_jobs_compute_and_leave_nothing(slurm: Any, state_directory: Path) -> None:
    """The first thing that a person does."""
    with cluster() as c, Client(c) as client:
        c.scale(4)
        client.wait_for_workers(4, timeout=90)
        assert c.scheduler_address.startswith("tls://")
        assert sorted(client.gather(client.map(lambda number: number**2, range(20)))) == [n**2 for n in range(20)]
        assert list(slurm.queue(c.name).values()) == ["RUNNING"] * 4
        assert len({job.id.text.partition("_")[0] for job in c.jobs}) == 1, "one submission for all"
        assert [job.state for job in c.jobs] == [JobState.RUNNING] * 4
        assert c.plan == c.requested == c.observed
        hashes = client.run(lambda: hash("x"))
        assert len(set(hashes.values())) == 1
        job = c.jobs[0]
        assert c.logs(job) is not None
        ids = [job.id.text for job in c.jobs]
    assert slurm.queue(c.name) == {}
    assert not (state_directory / "logs").exists()
    assert not (state_directory / "clusters").exists()
    ended = slurm.run("squeue", "-h", "-r", "-t", "all", "-o", "%T", "-j", ids[0].partition("_")[0]).split()
    assert ended == ["COMPLETED"] * 4, "an orderly end is no cancellation"


@pytest.mark.usefixtures("leaves_nothing")
def test_a_cluster_does_without_arrays(slurm: Any, eventually: Eventually) -> None:
    """It grows, shrinks and ends as with them; memory is asked for by core."""
    options = {"arrays": False, "memory_option": "mem-per-cpu"}
    with cluster(backend_options=options) as c, Client(c) as client:
        c.scale(3)
        client.wait_for_workers(3, timeout=90)
        assert [job.id.text.isdecimal() for job in c.jobs] == [True] * 3
        assert len({job.name for job in c.jobs}) == 1, "one wish, three submissions"
        c.scale(1)
        eventually(lambda: len(slurm.queue(c.name)) == 1, lambda: repr(c))
        assert client.submit(sum, [1, 2]).result() == 3
        assert c.logs(next(job for job in c.jobs if job.is_connected)) is not None
        assert not c.failures
    assert slurm.queue(c.name) == {}


@pytest.mark.usefixtures("leaves_nothing")
def test_scaling_down_ends_jobs_as_completed(slurm: Any, eventually: Eventually) -> None:
    """The launcher retires: tasks' results move, the job ends with 0, the rest goes on."""
    with cluster() as c, Client(c) as client:
        c.scale(3)
        client.wait_for_workers(3, timeout=90)
        futures = client.map(bytes, range(30))
        client.gather(futures)
        c.scale(1)
        eventually(lambda: sum(job.state is JobState.COMPLETED for job in c.jobs) == 2, lambda: repr(c))
        assert client.gather(futures) == [bytes(number) for number in range(30)]
        assert len(slurm.queue(c.name)) == 1
        assert not c.failures


def test_a_python_that_does_not_exist_is_told_in_seconds() -> None:
    """The message has the cause, from the job's own log."""
    started = time.monotonic()
    with cluster(python="/no/such/python") as c:
        c.scale(2)
        with pytest.raises(JobsFailed, match="/no/such/python") as told:
            c.wait_for_workers(2, timeout=90)
    assert time.monotonic() - started < 45
    assert "exit code 127" in str(told.value)
    assert "python=" in str(told.value)


def test_a_module_that_is_missing_on_the_node_is_told(tmp_path: Path) -> None:
    """A Python without corral: the log says so, and so does the error."""
    # Outside of any environment that has corral installed.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    with cluster(python=str(bare)) as c:
        c.scale(1)
        with pytest.raises(JobsFailed, match=r"No module named '?corral"):
            c.wait_for_workers(1, timeout=90)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"queue": "nosuch"}, "nosuch"),
        ({"extra_directives": ["--nodelist=nosuch"]}, "[Nn]ode"),
        ({"memory": "900GB"}, "[Mm]emory"),
    ],
    ids=["queue", "node", "memory"],
)
def test_a_refusal_reaches_whoever_waits(arguments: dict[str, Any], words: str) -> None:
    """With Slurm's own words, in seconds, and without phantom workers."""
    started = time.monotonic()
    with cluster(**arguments) as c:
        c.scale(3)
        with pytest.raises(SubmitRejected, match=words):
            c.wait_for_workers(3, timeout=60)
        assert not c.jobs
        assert not c.requested
    with pytest.raises(SubmitRejected, match=words):
        cluster(n_workers=2, **arguments)
    with pytest.raises(SubmitRejected, match=words), cluster(**arguments) as c:
        c.scale(1)
        time.sleep(1)
    assert time.monotonic() - started < 30


@pytest.mark.needs("arrays")
@pytest.mark.usefixtures("leaves_nothing")
def test_a_thousand_held_jobs(slurm: Any, eventually: Eventually, record_property: Any) -> None:
    """One submission, known to Slurm within a second; gone within two seconds of scale(0)."""
    setups.of("slurm").allows(jobs=1000)
    with cluster(extra_directives=["--hold"]) as c:
        started = time.monotonic()
        c.scale(1000)
        eventually(lambda: len(slurm.queue(c.name)) == 1000, timeout=5)
        known = time.monotonic() - started
        eventually(lambda: len(c.jobs) == 1000, timeout=5)
        assert len({job.name for job in c.jobs}) <= 2
        started = time.monotonic()
        c.scale(0)
        eventually(lambda: not slurm.queue(c.name), timeout=10)
        gone = time.monotonic() - started
        record_property("seconds", {"known": known, "gone": gone})
        assert slurm.queue(c.name) == {}


@pytest.mark.usefixtures("leaves_nothing")
def test_two_clusters_at_once() -> None:
    """Each has its own workers, certificates and jobs."""
    with cluster() as one, cluster() as two, Client(one) as first, Client(two) as second:
        one.scale(1)
        two.scale(1)
        first.wait_for_workers(1, timeout=90)
        second.wait_for_workers(1, timeout=90)
        assert first.submit(os.getpid).result() != second.submit(os.getpid).result()
        assert {job.id for job in one.jobs}.isdisjoint(job.id for job in two.jobs)


@pytest.mark.usefixtures("leaves_nothing")
def test_inside_a_running_loop() -> None:
    """As a Jupyter server or a web service uses it; a second client comes by address and security."""

    async def use() -> None:
        async with cluster(asynchronous=True) as c, Client(c, asynchronous=True) as client:
            c.scale(1)
            await client.wait_for_workers(1, timeout=90)
            async with Client(c.scheduler_address, security=c.security, asynchronous=True) as second:
                assert await second.submit(lambda: 42) == 42

    asyncio.run(use())


@pytest.mark.usefixtures("leaves_nothing")
def test_restart_works() -> None:
    """client.restart and restart_workers need real nannies."""
    with cluster(cores=2, processes=2) as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=90)
        before = set(client.run(os.getpid).values())
        client.restart(timeout=60)
        client.wait_for_workers(2, timeout=30)
        after = client.run(os.getpid)
        assert before.isdisjoint(after.values())
        client.restart_workers(list(after), timeout=60)
        assert set(after.values()).isdisjoint(client.run(os.getpid).values())
        assert len(set(client.run(lambda: hash("x")).values())) == 1
        assert len(c.jobs) == 1


def test_nothing_secret_is_seen(slurm: Any, state_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the script, the job listing, the command line, the environment of a worker, or the log."""
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-of-the-user")
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        [credentials] = state_directory.rglob("credentials.json")
        key = __import__("json").loads(credentials.read_text())["key"].splitlines()[1]
        [environment] = client.run(lambda: dict(os.environ)).values()
        [lines] = client.run(
            lambda: __import__("subprocess").run(["ps", "axeww"], capture_output=True, text=True).stdout
        ).values()
        job = c.jobs[0]
        script = slurm.run("scontrol", "write", "batch_script", job.id.text, "-")
        for place in (
            c.job_script(),
            script,
            slurm.run("scontrol", "show", "job", job.id.text),
            str(environment),
            c.logs(job),
        ):
            assert key not in place
            assert "s3cr3t-of-the-user" not in place
        assert key not in lines
        assert environment.get("LC_ALL") != "C"


def test_bad_input_is_refused_before_anything_is_submitted() -> None:
    """With the name of the argument."""
    for arguments in (
        {"memory": "lots"},
        {"cores": 0},
        {"walltime": "00:30"},
        {"processes": 2},
        {"queue": "a\nb"},
        {"cpus": 3},
    ):
        with pytest.raises(InvalidRequest) as refusal:
            cluster(**arguments)
        assert refusal.value.argument == next(iter(arguments))


@pytest.mark.needs("nodes")
@pytest.mark.usefixtures("leaves_nothing")
def test_a_script_becomes_workers_of_its_size(tmp_path: Path) -> None:
    """Its cores, memory and options; threads are said beside it."""
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH -n 2 --tasks-per-node=1 -c 2 --exclusive\n#SBATCH --mem=300M -t 5\npython x.py\n"
    )
    with Cluster.from_script(script, **small_jobs(memory="300MiB", cores=2, processes=1), threads=1) as c:
        assert "--nodes=2\n" in c.job_script()
        assert "#SBATCH --exclusive\n" in c.job_script()
        c.scale(workers=2)
        with Client(c) as client:
            client.wait_for_workers(2, timeout=90)
            workers = client.scheduler_info()["workers"].values()
            assert [(each["nthreads"], each["memory_limit"]) for each in workers] == [(1, 300 * 2**20)] * 2
        assert len(c.jobs) == 1


@pytest.mark.needs("testbed")
@pytest.mark.parametrize(
    "text",
    [
        "-n 8 --ntasks-per-node=4",
        "--exclusive -N 2",
        "-n 2 --mem-per-cpu=100M",
        "--sockets-per-node=1 --ntasks-per-socket=2",
        "--mincpus=2",
        "-p gpu -n 2 --gpus-per-task=1",
        "-p gpu --gres=gpu:1 --cpus-per-gpu=2 --mem-per-gpu=100M",
    ],
)
def test_what_scripts_ask_for_is_taken_as_we_say_it(slurm: Any, text: str, tmp_path: Path) -> None:
    """Slurm finds nodes for it."""
    job = Slurm().parse_resources(text)
    script = str(Slurm().render_script(evolve(job, name="x", command=("true",))))
    (tmp_path / "job.sh").write_text(script)
    assert slurm.run("sbatch", "--test-only", str(tmp_path / "job.sh")) == ""


def test_a_task_that_kills_its_worker_is_told_and_its_log_is_kept(eventually: Eventually) -> None:
    """The job does well; its log says why the task did not, after the cluster has ended too."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        with pytest.raises(KilledWorker):
            client.submit(os._exit, 7, key="leaves").result(timeout=90)
        eventually(lambda: len(c.failures) >= 4, lambda: repr(c.failures))
        assert {(failure.cause, failure.tasks) for failure in c.failures} == {("exit code 7", ("leaves",))}  # type: ignore[union-attr]
        assert c.failures[0].host  # type: ignore[union-attr]
        [job] = c.jobs
    [ended] = [each for each in kept_logs.ended() if each.name == c.name]
    assert [line.id for line in ended.jobs] == [job.id.text]
    assert "exit code 7" in Path(str(job.log)).read_text()


@pytest.mark.needs("testbed")
def test_a_walltime_that_the_partition_does_not_allow_is_told_at_once(slurm: Any) -> None:
    """Slurm takes the job, and lets it wait for ever."""
    with cluster(queue="short", walltime="1 h") as c:
        c.scale(1)
        with pytest.raises(NeverStarts, match="walltime=") as told:
            c.wait_for_workers(1)
        assert told.value.reason == "PartitionTimeLimit"
        assert "PartitionTimeLimit" in repr(c)
    assert slurm.queue(c.name) == {}


def test_an_older_squeue_is_asked_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """One that knows neither -O nor --me: the cluster sees its jobs all the same."""
    squeue = tmp_path / "squeue"
    squeue.write_text(
        "#!/bin/bash\n"
        'for word; do case "$word" in\n'
        "  -O) echo \"squeue: invalid option -- 'O'\" >&2; exit 1;;\n"
        "  --me) echo \"squeue: unrecognized option '--me'\" >&2; exit 1;;\n"
        f'esac; done; exec {shutil.which("squeue")} "$@"\n'
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with cluster() as c:
        c.scale(2)
        c.wait_for_workers(2, timeout=90)
        eventually(lambda: all(job.was_listed for job in c.jobs), lambda: repr(c.jobs))
    assert [job.state for job in c.jobs] == [JobState.COMPLETED] * 2
    assert "does not report" not in caplog.text
