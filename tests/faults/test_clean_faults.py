"""`corral clean` on a real Slurm: after clients that were killed at any moment, and while jobs cannot be cancelled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from incidents import Incident
from real_life import Slurm, small_jobs

from corral.cli import main
from corral.cluster import cleanup
from corral.cluster.registry import entries
from corral.host import private

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(600)]

HELD = small_jobs(extra_directives=["--hold"])

#: Forks clients that hold their jobs back, and kills each some time after it began to submit.
CLIENTS = """
import os, random, signal, sys, time
import distributed
from corral import Cluster

for number in range(int(sys.argv[1])):
    (ready, begins), (killed, keeps) = os.pipe(), os.pipe()
    if (client := os.fork()) == 0:
        os.close(keeps)
        c = Cluster(**eval(sys.argv[3]), name=f"killed-{number}")
        c.scale(2)
        os.write(begins, b"!")
        # Until it is killed, or whoever does that has been.
        os.read(killed, 1)
        os._exit(1)
    os.read(ready, 1)
    time.sleep(random.uniform(0.0, float(sys.argv[2])))
    os.kill(client, signal.SIGKILL)
    os.waitpid(client, 0)
    for end in (ready, begins, killed, keeps):
        os.close(end)
"""


def clean(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["clean", *words])
    return ran.exit_code, ran.output


@pytest.mark.fault("30 clients are killed at random moments around a submission")
def test_killed_clients_leave_nothing_that_clean_does_not_find(
    incident: Incident, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, while and after their jobs land; what they submit late is waited for."""
    monkeypatch.setattr(private, "_DRAFTED", 0.0)
    with incident.watched("killed-", 60):
        subprocess.run([sys.executable, "-c", CLIENTS, "30", "0.3", repr(HELD)], check=True, timeout=500)
        incident.begins()
        code, said = clean("--yes")
        incident.is_over()
    assert code == 0, said
    assert said.count("removed killed-") == 30, said
    assert slurm.queue("killed-") == {}
    assert entries() == []


@pytest.mark.fault("jobs of a killed client cannot be cancelled, as scancel")
@pytest.mark.parametrize(
    ("answer", "words"),
    [("exit 0", ""), ("echo scancel: error: Access/permission denied >&2; exit 1", "Access/permission denied")],
    ids=["accepts and does nothing", "refuses"],
)
def test_jobs_that_cannot_be_cancelled_are_told(
    incident: Incident, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, words: str
) -> None:
    """They are named with what is known of them, and stay registered until they can."""
    subprocess.run(
        [sys.executable, "-c", CLIENTS.replace("c.scale(2)", "c.scale(2); time.sleep(3)"), "1", "0", repr(HELD)],
        check=True,
    )
    jobs = slurm.queue("killed-")
    assert len(jobs) == 2
    monkeypatch.setattr(cleanup, "ENDING", 5.0)
    with incident.watched("killed-", 2):
        incident.begins()
        with monkeypatch.context() as patch:
            folder = tmp_path / "bin"
            folder.mkdir()
            (folder / "scancel").write_text(f"#!/bin/sh\n{answer}\n")
            (folder / "scancel").chmod(0o755)
            patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
            code, said = clean("--yes")
        incident.is_noticed()
        assert code == 1
        assert "cancelled 0 jobs; still in the queue: 2 jobs" in said
        assert all(f"{job} (held)" in said for job in jobs)
        assert words in said
        assert slurm.queue("killed-") == jobs
        assert len(entries()) == 1
        code, said = clean("--yes")
        incident.is_over()
    assert (code, entries()) == (0, []), said
    assert "cancelled 2 jobs" in said
