"""Reports of real clusters: from here, from a handle, and after the fact, whatever became of their processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.config
import pytest
from click.testing import CliRunner
from distributed import Client, wait

from corral import Cluster
from corral.cli import main
from corral.errors import InvalidRequest
from corral.view import journals
from corral.view.history import History

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a cluster on a queue of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return {
        "backend": "local",
        "memory": "200MB",
        "interface": "lo",
        "name": "past",
        "backend_options": {"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"},
    }


def only() -> History:
    [found], odd = journals.listed()
    assert not odd
    return journals.read(found.head.uuid)


def test_a_cluster_that_has_closed_can_be_told(arguments: dict[str, Any], tmp_path: Path) -> None:
    """While it lives, afterwards, and by whoever knows its name: every job, its moments, workers, failures."""
    with Cluster(**arguments) as cluster:
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=60)
        # One of them is gone soon, perhaps before it is seen by itself.
        cluster.report(tmp_path / "early.html")
        with Client(cluster) as client:
            wait(client.submit(int, 1), timeout=60)
            killing = client.submit(os.kill, client.run(os.getpid).popitem()[1], signal.SIGSEGV, key="kills")
            wait(client.submit(int, 2), timeout=60)
            while not cluster.failures:
                wait(client.submit(int, 3, pure=False), timeout=60)
            killing.cancel()
        alive = cluster.report(str(tmp_path / "alive.html"))
        assert alive == tmp_path / "alive.html"
        assert "It was running when this was written." in alive.read_text()
        uuid = cluster._blueprint.uuid
        secret = cluster.dashboard_link.split("/")[3]
    text = cluster.report(tmp_path / "closed.html").read_text()
    assert "It has ended." in text
    assert "signal 11" in text
    assert "kills" in text
    found = only()
    assert (found.head.uuid, found.is_closed, found.notes) == (uuid, True, ())
    assert [job.phase for job in found.overview.jobs] == ["ended", "ended"]
    assert all(
        job.started is not None and job.connected is not None and job.ended is not None and job.submitted <= job.ended
        for job in found.overview.jobs
    )
    assert found.peak == 2
    assert max(sample.wanted for sample in found.samples) == 2
    assert found.overview.core_hours == pytest.approx(cluster.account().total, abs=0.001)
    assert len(found.overview.failures) == 1
    assert secret not in journals.path_of(uuid).read_text()
    done = CliRunner().invoke(main, ["report", "past", "--output", str(tmp_path / "again.html")])
    assert done.exit_code == 0, done.output
    # But for the moment at which it was written.
    assert (tmp_path / "again.html").read_text().split("<footer")[0].count("<rect") == text.count("<rect")


KILLED = """
import json, os, signal, sys, time
from corral import Cluster
from corral.view import journals
cluster = Cluster(**json.loads(sys.argv[1]))
cluster.scale(2)
cluster.wait_for_workers(2, timeout=60)
while journals.read(cluster._uuid).peak < 2:
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_cluster_that_was_killed_can_be_told(arguments: dict[str, Any], tmp_path: Path) -> None:
    """As far as it had come; also when `corral clean` has removed all else, and a torn line is in the end."""
    done = subprocess.run([sys.executable, "-c", KILLED, json.dumps(arguments)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not only().is_closed
    [listed] = [json.loads(line) for line in CliRunner().invoke(main, ["report", "--json"]).output.splitlines()]
    assert listed["standing"] == "cut off"
    assert listed["sample"]["peak"] == 2
    cleaned = CliRunner().invoke(main, ["clean", "--yes"])
    assert "removed past" in cleaned.output
    with journals.path_of(listed["head"]["uuid"]).open("ab") as file:
        file.write(b'{"t":1796071409.0,"job":{"id":"1_')
    page = tmp_path / "page.html"
    done_ = CliRunner().invoke(main, ["report", "past", "--output", str(page)])
    assert done_.exit_code == 0, done_.output
    text = page.read_text()
    assert "Its process ended without a word, or was killed" in text
    assert "The last line of the journal is torn" in text
    assert "phase-working" in text
    assert [job.phase for job in only().overview.jobs] == ["working", "working"]


def test_a_handle_writes_one_and_the_journal_is_found_without_it(arguments: dict[str, Any], tmp_path: Path) -> None:
    """The engine in the job writes the journal; whoever shares the state directory reads it."""
    arguments |= {"scheduler": "job", "scheduler_options": {"memory": "300MB", "cores": 1}}
    with Cluster(**arguments) as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=60)
        text = cluster.report(tmp_path / "page.html").read_text()
        assert "from the journal of cluster" in text
        assert "phase-working" in text
        # Elsewhere there is none: it says so, and shows what it knows.
        for path in journals.path_of(cluster._uuid).parent.iterdir():
            path.unlink()
        bare = cluster.report(tmp_path / "bare.html").read_text()
        assert "There is no journal of this cluster here" in bare
        assert "phase-working" in bare
        cluster.scale(0)
    # Removed meanwhile, it was begun anew with all that there was.
    found = only()
    assert found.is_closed
    assert [job.phase for job in found.overview.jobs] == ["ended"]


def test_who_wants_no_journal_has_none(arguments: dict[str, Any], tmp_path: Path) -> None:
    """A report is made of what there is."""
    with dask.config.set({"corral.journal": False}), Cluster(**arguments) as cluster:
        text = cluster.report(tmp_path / "page.html").read_text()
    assert "There is no journal of this cluster here" in text
    assert journals.listed() == ([], [])


def test_where_it_cannot_be_written_is_told(arguments: dict[str, Any], tmp_path: Path) -> None:
    """As an argument that is wrong."""
    with Cluster(**arguments) as cluster, pytest.raises(InvalidRequest, match=r"path: there is no folder .*missing"):
        cluster.report(tmp_path / "missing" / "page.html")


def test_a_journal_that_cannot_be_written_hurts_nobody(
    arguments: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once; the cluster works, and so does its report. When there is room again, all of it is written."""
    folder = tmp_path / "state" / "corral" / "journals"
    with Cluster(**arguments) as cluster:
        assert cluster._journalling is not None
        cluster._journalling.write()
        with cluster._journalling._lock:
            # Or it would make the folder anew meanwhile.
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            folder.write_text("in its place")
        with caplog.at_level(logging.WARNING, "corral"):
            cluster.scale(1)
            cluster.wait_for_workers(1, timeout=60)
            for _ in range(3):
                cluster._journalling.write()
            told = [
                record.getMessage() for record in caplog.records if "cannot write its journal" in record.getMessage()
            ]
            assert len(told) == 1
            assert "journal: false in the configuration" in told[0]
        assert "There is no journal of this cluster here" in cluster.report(tmp_path / "page.html").read_text()
        folder.unlink()
    assert only().is_closed
    assert len(only().overview.jobs) == 1
