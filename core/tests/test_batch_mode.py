"""Batch mode on this machine: real schedulers, real workers, real scripts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client

from corral import Allocation
from corral.cluster.registry import entries
from corral.errors import CorralError, InvalidRequest

pytestmark = pytest.mark.timeout(90)

Script = Callable[[str], Path]

BEGIN = "import os, sys, time\nfrom distributed import Client\nclient = Client(timeout=30)\n"


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A script with a client that has found its cluster by itself."""

    def write(text: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(BEGIN + textwrap.dedent(text))
        return path

    return write


def words(*more: object) -> list[str]:
    options = ["--backend=local", "--interface=lo", "--processes=2", "--threads=1"]
    return [sys.executable, "-m", "corral.cli", "run", *options, *map(str, more)]


def run(*more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words(*more), check=False, capture_output=True, text=True, timeout=60)


def test_a_script_computes_and_leaves_nothing(script: Script, state_directory: Path) -> None:
    """Client() finds scheduler and certificates; arguments after the script are the script's."""
    path = script("""
        client.wait_for_workers(int(os.environ["CORRAL_WORKERS"]))
        print(sum(client.gather(client.map(lambda number: number + 1, range(10)))))
        print(client.scheduler.address.partition(":")[0], *sys.argv[1:], *sorted(client.run(os.getpid)), sep="\\n")
    """)
    done = run(path, "--processes", "7")
    assert done.returncode == 0, done.stderr
    total, protocol, *rest = done.stdout.split()
    assert (total, protocol, rest[:2]) == ("55", "tls", ["--processes", "7"])
    assert len(rest) == 4, "two workers"
    assert not list((state_directory / "clusters").glob("*"))


@pytest.mark.parametrize("command", ["run", "submit"])
def test_workers_have_what_was_to_be_imported(script: Script, tmp_path: Path, command: str) -> None:
    """By the same option in a job, and where it is submitted."""
    path = script("""
        client.wait_for_workers(2)
        print(client.run(lambda: sorted({"fractions", "colorsys"} & sys.modules.keys())).values())
    """)
    options = ["--preimport=fractions", "--preimport=colorsys", "--preimport=not_there"]
    if command == "submit":
        options += ["--wait", "--cores=2", "--memory=1GB", f"--log-directory={tmp_path}"]
    line = words(*options, path)
    line[line.index("run")] = command
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    if command == "submit":
        said += next(tmp_path.glob("*.log")).read_text()
    assert done.returncode == 0, said
    assert "dict_values([['colorsys', 'fractions'], ['colorsys', 'fractions']])" in said
    assert "not_there was not imported before the workers: there is no module 'not_there'" in said


@pytest.mark.parametrize(("count", "words"), [(1, "1 worker is starting on"), (2, "2 workers are starting on")])
def test_what_starts_is_said_by_number(script: Script, count: int, words: str) -> None:
    """Before the script has its turn."""
    done = run(f"--processes={count}", script("sys.exit(0)"))
    assert done.returncode == 0, done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [("sys.exit(7)", 7), ("raise RuntimeError('of mine')", 1), ("os.kill(os.getpid(), 9)", 137)],
    ids=["code", "raise", "signal"],
)
def test_the_exit_code_is_the_scripts(script: Script, end: str, code: int) -> None:
    """7 is 7, an exception is 1, a signal is 128 and its number."""
    done = run(script(end))
    assert done.returncode == code, done.stderr
    if "raise" in end:
        assert "of mine" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (["--no-such-option", "script.py"], "no-such-option"),
        (["no-such-script.py"], "no-such-script.py"),
        (["--memory-limit=lots", __file__], "memory_limit"),
        (["--exclusive", __file__], "one node"),
        (["--interface=nosuch0", __file__], "nosuch0"),
        (["--worker-ports=1", __file__], "ports"),
    ],
)
def test_its_own_failures_are_125(wrong: list[str], complaint: str) -> None:
    """Nobody takes them for the script's."""
    done = run(*wrong)
    assert done.returncode == 125
    assert complaint in done.stderr.replace("-", "_") + done.stderr


def test_without_workers_a_script_does_not_wait_for_ever(script: Script) -> None:
    """They could not start: that is told, and the script ended."""
    done = run("--worker-class=no.such.Class", script("client.submit(int).result()"))
    assert done.returncode == 125
    assert "no worker" in done.stderr


def test_a_signal_is_for_the_script(script: Script) -> None:
    """It may save its work; if it does not care, the code is 128 and the number."""
    path = script("print('here', flush=True)\ntime.sleep(60)")
    with subprocess.Popen(words(path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_a_script_that_handles_a_signal_has_its_own_code(script: Script) -> None:
    """A checkpoint was written: that is a success."""
    path = script("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
        print("here", flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen(words(path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == 3


def test_a_killed_worker_does_not_end_the_script(script: Script) -> None:
    """Its nanny starts another, and tasks run again."""
    path = script("""
        client.wait_for_workers(2)
        [victim, _] = client.run(os.getpid).values()
        os.kill(victim, 9)
        print(client.submit(lambda: 42, pure=False).result(timeout=30))
    """)
    done = run(path)
    assert (done.returncode, done.stdout) == (0, "42\n")


def test_a_scheduler_file_is_written_for_others(script: Script, tmp_path: Path) -> None:
    """Programs that know no environment variables read it."""
    path = script("""
        import json
        print(json.load(open(sys.argv[1]))["address"] == client.scheduler.address)
    """)
    done = run(f"--scheduler-file={tmp_path / 'scheduler.json'}", "--no-dashboard", path, tmp_path / "scheduler.json")
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_a_cluster_within_a_cluster_is_refused(script: Script) -> None:
    """A script says either `corral run` or `Allocation`."""
    done = run(script("import corral\ncorral.Allocation()"))
    assert done.returncode == 1
    assert "use Client()" in done.stderr


def test_what_a_killed_job_leaves_can_be_removed(script: Script, state_directory: Path) -> None:
    """At its walltime a job is killed: the workers go, the credentials stay until somebody cleans up."""
    path = script("client.wait_for_workers(2)\nprint('here', flush=True)\ntime.sleep(60)")
    with subprocess.Popen(words(path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(30)
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    assert list((state_directory / "clusters").glob("*/client.pem"))
    clean = [sys.executable, "-m", "corral.cli", "clean", "--yes"]
    assert "removed" in subprocess.run(clean, check=True, capture_output=True, text=True).stdout
    assert not (state_directory / "clusters").exists()
    assert not list(entries())


# --- in Python --------------------------------------------------------------------------------------------------


def test_an_allocation_is_a_cluster(state_directory: Path) -> None:
    """With the face of every Dask cluster, except that it cannot grow."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with (
        Allocation(backend="local", interface="lo", processes=2, threads=1, name="mine") as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(cluster.n_workers, timeout=60)
        assert client.submit(sum, [1, 2]).result() == 3
        assert cluster.observed == {"mine-0", "mine-1"}
        assert repr(cluster).endswith("nodes=1, workers=2 of 2)")
        assert [(entry.name, entry.process_is_gone()) for entry in entries()] == [(cluster.name, False)]
        with pytest.raises(CorralError, match="no more"):
            cluster.scale(3)
        [folder] = (state_directory / "clusters").iterdir()
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        page = cluster._repr_html_()
        assert cluster.name in page
        assert "2 of 2 wanted workers" in page
    assert "closed" in cluster._repr_html_()
    assert "Workers" in cluster.scheduler_info._repr_html_(), "a closed one can be shown"
    assert not list((state_directory / "clusters").glob("*"))
    assert not list(entries())
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


async def test_it_is_asynchronous_where_that_is_wanted() -> None:
    """Inside a running loop."""
    async with (
        Allocation(backend="local", interface="lo", processes=1, threads=1, asynchronous=True) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        assert await asyncio.wait_for(client.submit(os.getpid), 60) != os.getpid()


def test_a_wrong_argument_starts_nothing() -> None:
    """It is refused by its name."""
    with pytest.raises(InvalidRequest, match="worker_ports"):
        Allocation(backend="local", worker_ports="many")
