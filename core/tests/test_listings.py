"""What commands print for programs: one object a line, or one in all; JSON whatever somebody's text is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from corral.cli import main
from corral.cluster.registry import Entry, JobLine
from corral.host.identity import Identity

HOSTILE = 'a\x1b]0;owned\x07"\u2028<script>'


def printed(*words: str, code: int = 0) -> list[dict[str, Any]]:
    """The objects that a command prints, and nothing else on standard output."""

    def refuse(text: str) -> None:
        raise AssertionError(text)

    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == code, done.output
    assert done.stdout.isascii()
    return [json.loads(line, parse_constant=refuse) for line in done.stdout.splitlines()]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_nothing_is_no_line(state: Path) -> None:
    """Words for people would be no JSON."""
    for command in ("clean", "explain", "logs", "ps", "waits"):
        assert printed(command) == []


def test_clusters_and_their_jobs(state: Path) -> None:
    """Hostile text comes back as it was."""
    line = JobLine(id="7", group="g", state="running", reason=HOSTILE, log="/l")
    Entry(name="one", uuid="0" * 32, backend="local", jobs=(line,), process=Identity.nobody()).write()
    [cluster] = printed("ps")
    assert cluster["jobs"][0]["reason"] == HOSTILE
    [job] = printed("logs")
    assert job == {"job": "7", "state": job["state"], "cluster": "one", "group": "g", "log": "/l"}
    [top] = printed("top", "one")
    assert top["jobs"][0]["reason"] == HOSTILE
    assert "cannot be connected to" in top["partial"]
    [cleaned] = printed("clean")
    assert (cleaned["cluster"], cleaned["jobs"], cleaned["left"]) == ("one", [], [])
    assert cleaned["fate"] in ("lives", "doubtful", "dead")


def test_scripts_and_what_was_carried_over(state: Path) -> None:
    """One object, in which the text is a text."""
    [script] = printed("script", "--backend=local", "--memory=1GB")
    assert script["script"].startswith("#!/")
    assert (script["group"], script["backend"], script["site"]) == ("default", "local", None)
    (state / "p.py").write_text(
        "from dask_jobqueue import SLURMCluster\nc = SLURMCluster(cores=2, memory='4GB', foo=1)\n"
    )
    [migrated] = printed("migrate", str(state / "p.py"), code=1)
    assert "corral" in migrated["text"]
    assert migrated["lost"] == sum(remark["is_lost"] for remark in migrated["remarks"]) >= 1
    assert CliRunner().invoke(main, ["schema"]).stdout.startswith("{")


@pytest.mark.parametrize("command", ["backends", "sites"])
def test_plugins(command: str) -> None:
    """Each in a line of its own."""
    assert len({each["name"] for each in printed(command)}) > 3
