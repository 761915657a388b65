"""Batch mode on a real Slurm of three nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from distributed import Client

from corral import Cluster
from corral.errors import JobsFailed

if TYPE_CHECKING:
    from real_life import Slurm

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("testbed", "here", "control"), pytest.mark.timeout(240)]

Eventually = Callable[..., None]
#: Runs a script in a job of three nodes; gives its exit code and all that was printed.
Job = Callable[..., tuple[int, str]]

RUN = [sys.executable, "-m", "corral.cli", "run", "--interface=lo", "--processes=2", "--threads=1"]
BEGIN = """
import os, sys, time
from distributed import Client
client = Client(timeout=60)
client.wait_for_workers(int(os.environ["CORRAL_WORKERS"]), timeout=60)
def nodes():
    return sorted(client.run(os.getenv, "SLURMD_NODENAME").values())
"""


@pytest.fixture
def job(slurm: Slurm, tmp_path: Path) -> Job:
    script, output = tmp_path / "script.py", tmp_path / "job.out"

    def run(
        text: str,
        command: list[str] = RUN,
        begin: str = BEGIN,
        wants: Sequence[str] = ("--nodes=3", "--cpus-per-task=2"),
    ) -> tuple[int, str]:
        script.write_text(begin + textwrap.dedent(text))
        batch = f"#!/bin/bash\nexec {' '.join(command)} {script}\n"
        sbatch = ["sbatch", "--parsable", *wants, "--no-kill", "--mem=1200", "--time=5"]
        submitted = subprocess.run(
            [*sbatch, f"--output={output}"], check=True, input=batch, text=True, capture_output=True, timeout=60
        )
        return slurm.exit_code(submitted.stdout.split()[-1]), output.read_text()

    return run


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(7)", 7), ("raise ValueError('mine')", 1)], ids=["0", "7", "raise"]
)
def test_a_job_script_computes_on_three_hosts(job: Job, end: str, code: int) -> None:
    """Two workers on each node, over TLS; the job's exit code is the script's."""
    done, said = job(f"""
        assert sum(client.gather(client.map(lambda number: number + 1, range(100)))) == 5050
        print(*nodes(), client.scheduler.address[:6])
        {end}
    """)
    assert "n1 n1 n2 n2 n3 n3 tls://" in said
    assert done == code, said


@pytest.mark.usefixtures("leaves_nothing")
def test_nodes_that_give_unequal_cpus(job: Job) -> None:
    """Slurm fills one node and takes the rest of another: each works with as many as the smaller has."""
    done, said = job("print(*nodes())", wants=["--nodes=2", "--ntasks=66", "--distribution=block"])
    assert done == 0, said
    assert "n1 n1 n2 n2" in said


@pytest.mark.real("slurm", having="unequal")
@pytest.mark.usefixtures("leaves_nothing")
def test_nodes_of_unequal_size(job: Job) -> None:
    """One of seven CPUs and one of one: the script gets workers on both, and ends."""
    run = [sys.executable, "-m", "corral.cli", "run", "--interface=lo"]
    done, said = job("print(*nodes())", run, wants=["--partition=unequal", "--nodes=2", "--ntasks=8"])
    assert done == 0, said
    assert "u1 u2" in said


@pytest.mark.usefixtures("leaves_nothing")
def test_a_killed_worker_and_a_killed_node_do_not_end_it(job: Job) -> None:
    """A worker is replaced by its nanny; a node's share is lost, and tasks run on the others."""
    done, said = job("""
        import signal, psutil
        pids = {node: pid for pid, node in client.run(lambda: (os.getpid(), os.getenv("SLURMD_NODENAME"))).values()}
        launcher = psutil.Process(pids["n2"]).parent().parent()
        os.kill(pids["n3"], signal.SIGKILL)
        futures = client.map(lambda number: number + 1, range(200), pure=False)
        assert sum(client.gather(futures)) == 20100
        launcher.kill()
        deadline = time.monotonic() + 60
        while len(client.scheduler_info(n_workers=-1)["workers"]) != 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        futures = client.map(lambda number: number + 1, range(200), pure=False)
        assert sum(client.gather(futures)) == 20100
        print(*sorted(set(nodes())))
    """)
    assert done == 0, said
    assert "n1 n3" in said


@pytest.mark.usefixtures("leaves_nothing")
def test_the_first_node_can_be_spared(job: Job) -> None:
    """Scheduler and script have it for themselves."""
    done, said = job("print(*nodes())", [*RUN, "--exclusive"])
    assert done == 0, said
    assert "\nn2 n2 n3 n3\n" in said


@pytest.mark.usefixtures("leaves_nothing")
def test_an_allocation_in_a_job_script(job: Job) -> None:
    """Without corral run: the script makes the cluster."""
    text = """
        import os
        from distributed import Client
        from corral import Allocation
        with Allocation(interface="lo", processes=1, threads=1) as cluster, Client(cluster) as client:
            client.wait_for_workers(cluster.n_workers, timeout=60)
            print(cluster, *sorted(client.run(os.getenv, "SLURMD_NODENAME").values()))
    """
    done, said = job(text, [sys.executable], begin="")
    assert done == 0, said
    assert "nodes=3, workers=3 of 3) n1 n2 n3" in said


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("code", [0, 7])
def test_submit_follows_a_job_to_its_end(tmp_path: Path, code: int) -> None:
    """One command: the script's output, and its exit code."""
    script = tmp_path / "script.py"
    script.write_text(f"{BEGIN}print(*nodes(), *sys.argv[1:])\nsys.exit({code})\n")
    options = ["--backend=slurm", "--nodes=3", "--cores=2", "--memory=1GB", "--walltime=5m", "--processes=1"]
    command = [sys.executable, "-m", "corral.cli", "submit", *options, "--interface=lo", "--follow"]
    done = subprocess.run(
        [*command, str(script), "--follow", "x"], check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == code, done.stderr
    assert "\nn1 n2 n3 --follow x\n" in done.stdout
    [log] = tmp_path.glob("*.log")
    assert log.read_text() == done.stdout


# --- clusters whose jobs have several nodes ---------------------------------------------------------------------


def cluster(**arguments: Any) -> Cluster:
    usual = {"cores": 2, "processes": 2, "memory": "800MB", "walltime": "00:10:00", "queue": "batch", "interface": "lo"}
    return Cluster(backend="slurm", nodes=3, **{**usual, **arguments})


@pytest.mark.usefixtures("leaves_nothing")
def test_one_job_of_three_nodes(slurm: Any) -> None:
    """One line in squeue, workers on all three; it retires as one."""
    with cluster() as c, Client(c) as client:
        c.scale(6)
        client.wait_for_workers(6, timeout=90)
        assert list(slurm.queue(c.name).values()) == ["RUNNING"]
        where = client.run(os.getenv, "SLURMD_NODENAME")
        assert sorted(where.values()) == ["n1", "n1", "n2", "n2", "n3", "n3"]
        assert client.submit(sum, [1, 2]).result() == 3
        [job] = c.jobs
    ended = slurm.run("squeue", "-h", "-t", "all", "-o", "%T", "-j", job.id.text).split()
    assert ended == ["COMPLETED"]


def test_a_node_that_dies_is_told_and_the_job_goes_on(
    slurm: Any, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """slurmd of n2 and all that it ran are killed: its workers are not expected any more."""
    with cluster() as c, Client(c) as client:
        c.scale(jobs=1)
        client.wait_for_workers(6, timeout=90)
        [victim, *_] = [pid for pid, node in client.run(_whereabouts).values() if node == "n2"]
        with dead_node(slurm.pid_file("SlurmdPidFile", "n2"), victim):
            eventually(lambda: c.jobs[0].lost_hosts == ("n2",), lambda: repr(c.jobs), timeout=60)
            assert c.jobs[0].is_connected
            assert "node n2" in caplog.text
            assert len(c.observed) == len(c.requested) == len(c.plan) == 4
            results = client.map(lambda number: number + 1, range(100), pure=False)
            assert sum(client.gather(results)) == 5050
            assert {node for _, node in client.run(_whereabouts).values()} == {"n1", "n3"}
            with pytest.raises(JobsFailed, match="n2"):
                client.wait_for_workers(6, timeout=10)
            # Slurm would notice after its SlurmdTimeout, and does the same when it is told: the job goes on.
            slurm.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=dead")
            eventually(lambda: "n2" in slurm.run("sinfo", "-h", "-N", "-t", "down", "-o", "%N"), timeout=60)
            assert list(slurm.queue(c.name).values()) == ["RUNNING"], slurm.run("sinfo", "-N", "-l")
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3
        assert not c.failures
    eventually(lambda: "n2" in slurm.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N"), timeout=60)


def _whereabouts() -> tuple[int, str]:
    return os.getpid(), os.environ["SLURMD_NODENAME"]


@contextmanager
def dead_node(pid_file: Path, process: int) -> Iterator[None]:
    """A node without power for a while: its daemon, and the job step to which this process belongs."""
    daemon = psutil.Process(int(pid_file.read_text()))
    line, environment = daemon.cmdline(), daemon.environ()
    step = psutil.Process(process)
    while not step.name().startswith("slurmstepd"):
        step = step.parent() or step
    victims = [daemon, step, *step.children(recursive=True)]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10)
    try:
        yield
    finally:
        with open(os.devnull, "rb+") as nothing:
            subprocess.run(line, check=True, env=environment, stdin=nothing, stdout=nothing, stderr=nothing, timeout=30)


# --- ranks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(7)", 7), ("raise ValueError('mine')", 1)], ids=["0", "7", "raise"]
)
@pytest.mark.parametrize("begin", ["initialize", "Ranks"])
def test_ranks_of_srun(tmp_path: Path, state_directory: Path, begin: str, end: str, code: int) -> None:
    """Six ranks on three hosts: one schedules, one runs the script, four work; all end together."""
    text = {
        "initialize": """
            import os, sys
            from corral.allocation.ranks import initialize
            initialize(interface="lo")
            from distributed import Client
            client = Client()
            BODY
        """,
        "Ranks": """
            import os, sys
            from distributed import Client
            from corral.allocation.ranks import Ranks
            with Ranks(interface="lo") as runner, Client(runner) as client:
                BODY
        """,
    }[begin]
    body = "client.wait_for_workers(4); print(sum(client.gather(client.map(int, range(10)))), client.scheduler.address)"
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text).replace("BODY", f"{body}; {end}" if end else body))
    done = subprocess.run(
        ["srun", "--ntasks=6", "--nodes=3", "--mem=1200", sys.executable, str(script)],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith("45 tls://")
    assert done.stdout.count("\n") == 1
    assert not list(state_directory.glob("ranks/*"))
