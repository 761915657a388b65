"""What killed clusters leave, and who may remove it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner

from corral.cli import main
from corral.home import Home
from corral.registry import SILENT_AFTER, Entry, entries

CLIENT = """
import sys, time
from corral import Cluster
c = Cluster(backend="local", memory="200MB", interface="lo", name="doomed", extra_directives=["--hold"], n_workers=2,
            backend_options={"directory": sys.argv[1], "cores": 2, "memory": "2GB"})
while not c._entry or len(c._entry.jobs) < 2:
    time.sleep(0.05)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "corral"


def corral(*words: str) -> str:
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 0, ran.output
    return ran.output


def jobs(queue: Path) -> list[str]:
    """States of the queue's jobs."""
    ran = subprocess.run(
        [sys.executable, "-m", "corral.local", "status", "--directory", str(queue)],
        check=True, capture_output=True, text=True, input="1_0\n1_1\n",
    )  # fmt: skip
    return [row["state"] for row in map(json.loads, ran.stdout.splitlines()) if "state" in row]


def test_a_killed_cluster_is_cleaned_and_a_living_one_is_not(tmp_path: Path, state_directory: Path) -> None:
    """First nothing to do, then a dry run, then the real one."""
    queue = tmp_path / "queue"
    with subprocess.Popen([sys.executable, "-c", CLIENT, str(queue)], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        assert "doomed" in corral("ps")
        assert "Nothing to clean" in corral("clean", "--yes")
        client.send_signal(signal.SIGKILL)
    assert "its process is gone" in corral("ps")
    dry = corral("clean")
    assert "would remove doomed" in dry
    assert "2 job(s) 1_0 1_1" in dry
    assert list(state_directory.rglob("credentials.json"))
    assert "cancelled 2 job(s)" in corral("clean", "--yes")
    assert not list(state_directory.rglob("credentials.json"))
    assert not list(entries())
    assert jobs(queue) == ["CANCELLED", "CANCELLED"]


def entry(**fields: Any) -> Entry:
    return evolve(Entry(name="a", uuid="0123", backend="local"), **fields)


def test_a_pid_means_something_on_its_own_host_and_boot_only() -> None:
    """A number that another process has now, or that was given out before a restart, proves nothing."""
    assert not entry().process_is_gone()
    assert entry(process_started=time.time() - 10**6).process_is_gone()
    assert entry(boot="another").process_is_gone()
    assert entry(pid=2**22 + 1).process_is_gone()


def test_another_host_s_cluster_lives_while_it_writes() -> None:
    """Its pid cannot be looked at from here; its heartbeat can."""
    assert not entry(host="another", heartbeat=time.time() - SILENT_AFTER + 5).process_is_gone()
    assert entry(host="another", heartbeat=time.time() - SILENT_AFTER - 5).process_is_gone()


def test_a_registry_file_cannot_name_what_is_removed(tmp_path: Path) -> None:
    """Only a file of the cluster's own, by its unique name, is ever unlinked."""
    precious = tmp_path / "credentials.json"
    precious.touch()
    entry(pid=2**22 + 1, credentials=str(precious)).write()
    corral("clean", "--yes")
    assert precious.exists()
    assert not list(entries())


def test_a_damaged_registry_file_disturbs_nobody(state_directory: Path) -> None:
    """It is passed over."""
    with Home.of().folder("registry", make=True):
        pass
    (state_directory / "registry" / "x.json").write_text("{half")
    (state_directory / "registry" / "x.json").chmod(0o600)
    assert "No cluster is registered" in corral("ps")
    assert os.listdir(state_directory / "registry") == ["x.json"]
