"""A laptop without any batch system, and a centre with Slurm behind an sshd, which dies and comes back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from real_life import small_jobs, wait_until
from sshd import Sshd

from corral import Cluster
from corral.cluster import cleanup, registry
from corral.errors import InvalidRequest, LoginRefused
from corral.ssh import connection as connections
from corral.ssh.address import Address

pytestmark = [pytest.mark.real("slurm", "sshd"), pytest.mark.timeout(300)]

#: Where the tests' own modules are, and corral's, if it is not installed.
_PYTHONPATH = os.pathsep.join([str(Path(__file__).parents[1] / "plugins"), os.environ.get("PYTHONPATH", "")]).strip(":")
ARGUMENTS: dict[str, Any] = small_jobs(via="ssh://centre", env={"PYTHONPATH": _PYTHONPATH})
IN_A_JOB = {**ARGUMENTS, "scheduler": "job", "scheduler_options": {"memory": "500MB"}}


@pytest.fixture
def laptop(sshd: Sshd, slurm: Any, state_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process is on it: it has ssh, no command of Slurm's, and a state directory and a home of its own."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("ssh", "sh", "env"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DASK_CORRAL__SSH", sshd.words)
    monkeypatch.setattr(connections, "_PAUSES", (0.5,))
    return state_directory


@pytest.fixture
def centre(sshd: Sshd) -> Path:
    """Where corral's files are over there."""
    return Path(sshd.session["XDG_STATE_HOME"]) / "corral"


def files(folder: Path) -> set[str]:
    """What clusters leave that have something left; their journals stay."""
    left = {path for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()
    stays = ("waits", "corral", "journals")
    return {path.name for path in left if path.parent.name not in stays and path.parent.parent.name != "hosts"}


@pytest.mark.usefixtures("leaves_nothing")
def test_workers_there_and_the_scheduler_here(laptop: Path, centre: Path, slurm: Any) -> None:
    """Credentials and logs are on the centre's side alone; nothing is left on either."""
    with Cluster(**ARGUMENTS, name="near") as cluster, Client(cluster) as client:
        assert cluster.job_script().count(str(centre))
        assert str(laptop) not in cluster.job_script()
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=90)
        assert client.submit(sum, [20, 22]).result() == 42
        assert sorted(slurm.queue("near").values()) == ["RUNNING", "RUNNING"]
        assert "worker connected" in cluster.logs(cluster.jobs[0])
        assert "credentials.json" in files(centre)
        assert files(laptop) == {f"{cluster._blueprint.uuid}.json"}, "how it is found"
    assert slurm.queue("near") == {}
    assert files(laptop) == files(centre) == set()


def test_a_failing_job_is_explained_from_its_log_there(laptop: Path, centre: Path, slurm: Any) -> None:
    """Its exit code is seen there, and its last lines; both outlast the cluster, for `corral logs`."""
    with Cluster(**{**ARGUMENTS, "prologue": ["echo the licence server is away; exit 7"]}, name="ill") as cluster:
        cluster.scale(1)
        with pytest.raises(Exception, match=r"(?s)exit code 7.*the licence server is away"):
            cluster.wait_for_workers(1, timeout=90)
        job = str(cluster.jobs[0].id)
    done = corral("logs", job)
    assert done.returncode == 0, done.stderr
    assert "the licence server is away" in done.stdout


@pytest.mark.usefixtures("leaves_nothing")
def test_a_scheduler_in_a_job_is_reached_through_ssh(laptop: Path, centre: Path, slurm: Any) -> None:
    """By a port of this host; found again by its name, grown, and ended; nothing is left on either side."""
    with Cluster(**IN_A_JOB, name="far") as cluster, Client(cluster) as client:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=90)
        assert client.submit(sum, [20, 22]).result() == 42
        port = int(cluster.scheduler_address.rpartition(":")[2])
        there = cluster._residence.elsewhere.connection.behind(port)  # type: ignore[attr-defined] # it is a handle
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        assert there is not None, "it is a way to another port"
        assert f"127.0.0.1:{there[1]}" not in cluster.scheduler_address
        with Cluster.connect("far") as again:
            again.scale(2)
            again.wait_for_workers(2, timeout=90)
        assert len(slurm.queue("far")) == 3
        assert "scheduler in job" in corral("ps").stdout
    assert slurm.queue("far") == {}
    assert files(laptop) == set()
    wait_until(lambda: files(centre) == set(), lambda: str(files(centre)))


@pytest.mark.usefixtures("leaves_nothing")
def test_sshd_dies_and_comes_back(
    laptop: Path, sshd: Sshd, slurm: Any, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs stay and work; it is said why nothing more comes; then what was asked for comes."""
    caplog.set_level(logging.INFO, "corral")
    with Cluster(**ARGUMENTS, name="cut") as cluster, Client(cluster) as client:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=90)
        [first] = cluster.jobs
        sshd.die()
        cluster.scale(2)
        eventually(lambda: "no way to centre" in repr(cluster), lambda: repr(cluster))
        assert client.submit(sum, [20, 22]).result() == 42
        sshd.start()
        cluster.wait_for_workers(2, timeout=90)
        assert first.id in {job.id for job in cluster.jobs if not job.has_ended}
        assert len(slurm.queue("cut")) == 2, "nothing was submitted twice"
    assert "centre can be reached again" in caplog.text
    assert slurm.queue("cut") == {}


def test_a_handle_comes_back_to_its_scheduler(laptop: Path, sshd: Sshd, slurm: Any) -> None:
    """Its clients too, at the address that they have."""
    with Cluster(**IN_A_JOB, name="back") as cluster, Client(cluster) as client:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=90)
        address = cluster.scheduler_address
        client.publish_dataset(answer=client.submit(sum, [20, 22]))
        sshd.die()
        sshd.start()
        wait_until(lambda: _answers(cluster), lambda: repr(cluster), timeout=60)
        assert cluster.scheduler_address == address
        with Client(cluster) as again:
            assert again.get_dataset("answer").result() == 42
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=90)
    assert slurm.queue("back") == {}


def test_a_cut_while_the_scheduler_s_job_waits(laptop: Path, sshd: Sshd, slurm: Any) -> None:
    """It may wait for hours, and laptops sleep."""
    options = {"memory": "500MB", "extra_directives": ["--begin=now+10"]}
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        making = thread.submit(lambda: Cluster(**{**IN_A_JOB, "scheduler_options": options}, name="waits"))
        wait_until(lambda: list(slurm.queue("waits").values()) == ["PENDING"], lambda: str(slurm.queue("waits")), 60)
        sshd.die()
        wait_until(lambda: list(slurm.queue("waits").values()) == ["RUNNING"], lambda: str(slurm.queue("waits")), 60)
        sshd.start()
        with making.result(timeout=120) as cluster:
            assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
    assert slurm.queue("waits") == {}


def _answers(cluster: Any) -> bool:
    try:
        cluster.wait_for_workers(1, timeout=5)
    except Exception:
        return False
    return True


KILLED = """
import os, signal, sys, time
from corral import Cluster
if __name__ == "__main__":
    cluster = Cluster(**eval(sys.argv[1]), name=sys.argv[2])
    cluster.scale(2)
    cluster.wait_for_workers(1, timeout=90)
    print("there", flush=True)
    time.sleep(600)
"""


def corral(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli", *words], check=False, capture_output=True, text=True, timeout=120
    )


def test_what_a_killed_cluster_left_there_is_cleaned_from_here(laptop: Path, centre: Path, slurm: Any) -> None:
    """Jobs, credentials and registry file; it says where it looks."""
    arguments = [sys.executable, "-c", KILLED, repr(ARGUMENTS), "killed"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "there\n"
        client.send_signal(signal.SIGKILL)
    assert re.search(r"killed .*jobs via ssh://centre.*its process is gone", corral("ps").stdout)
    [entry] = [json.loads(line) for line in corral("ps", "--json").stdout.splitlines()]
    assert entry["via"] == "ssh://centre"
    assert "would remove killed" in corral("clean").stdout
    done = corral("clean", "--yes")
    assert done.returncode == 0, done.stderr
    assert "removed killed" in done.stdout
    assert slurm.queue("killed") == {}
    assert files(laptop) == set()
    wait_until(lambda: "credentials.json" not in files(centre), lambda: str(files(centre)))


def test_clean_says_when_there_is_no_way_there(laptop: Path, sshd: Sshd, slurm: Any) -> None:
    """And leaves the cluster registered, so that it can be done later."""
    arguments = [sys.executable, "-c", KILLED, repr(ARGUMENTS), "later"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.send_signal(signal.SIGKILL)
    sshd.die()
    done = corral("clean", "--yes")
    assert done.returncode == 1
    assert "later" in done.stderr
    assert "no way to centre" in done.stderr
    sshd.start()
    assert corral("clean", "--yes").returncode == 0
    assert slurm.queue("later") == {}


def test_a_cluster_that_cannot_reach_its_files_stays_registered(
    laptop: Path, centre: Path, sshd: Sshd, slurm: Any
) -> None:
    """Its jobs end through the connections of their workers; what is left is removed when there is a way."""
    with Cluster(**ARGUMENTS, name="aside") as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=90)
        sshd.die()
    assert len(files(laptop)) == 1
    assert "credentials.json" in files(centre)
    wait_until(lambda: slurm.queue("aside") == {}, lambda: str(slurm.queue("aside")), timeout=60)
    # Its process lives, being this one.
    connections.Connection.to(Address("centre"), sshd.words.split()).close()
    sshd.start()
    [entry] = registry.entries()
    asyncio.run(cleanup.remove_files(entry))
    assert files(laptop) == set()
    assert "credentials.json" not in files(centre)


def test_the_same_name_again_after_the_cluster_has_ended_there(laptop: Path, slurm: Any) -> None:
    """It ended without us, so nobody wrote that down here."""
    with Cluster(**IN_A_JOB, name="twice", shutdown_on_close=False):
        pass
    for job in slurm.queue("twice"):
        slurm.run("scancel", job)
    wait_until(lambda: slurm.queue("twice") == {}, lambda: str(slurm.queue("twice")), timeout=60)
    with Cluster(**IN_A_JOB, name="twice") as cluster:
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")


def test_what_answers_there_is_found(laptop: Path) -> None:
    """And what does not is told with the host's name; the embedded queue is no choice."""
    done = corral("backends", "--via", "ssh://centre")
    assert re.search(r"^slurm +corral-slurm \S+ +\d", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "flux: there is no 'flux' on centre" in done.stdout
    done = corral("queues", "--via", "ssh://centre", "--backend", "slurm")
    assert "batch*" in done.stdout, done.stderr


def test_what_makes_no_sense_over_ssh_is_refused(laptop: Path, sshd: Sshd) -> None:
    """With the argument's name and what to do."""
    for more, words in (
        ({"backend": "local"}, "via: 'ssh://centre' leads to another host"),
        ({"groups": {"a": {"backend": "local"}}}, "group 'a' has a batch system of its own"),
        ({"python": "/no/such/python"}, "python: on centre, there is no /no/such/python"),
        ({"log_directory": "logs"}, "log_directory: 'logs' is not an absolute path"),
        ({"via": "centre"}, "'ssh://centre'"),
    ):
        with pytest.raises(InvalidRequest, match=re.escape(words)):
            Cluster(**{**ARGUMENTS, **more})
    sshd.refuse()
    for connection in list(connections.Connection._all.values()):
        connection.close()
    with pytest.raises(LoginRefused, match="Permission denied"):
        Cluster(**ARGUMENTS)
