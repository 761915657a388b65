"""What can be shown to strangers."""

from __future__ import annotations

import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from corral import hookimpl
from corral.cli import main
from corral.cli.redact import Redaction
from corral.cluster.registry import AskedLine, Entry, JobLine
from corral.errors import InvalidRequest
from corral.plugin import answered
from corral.plugin.values import Queue
from corral.request.drawing import draw


@pytest.fixture(autouse=True)
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOGNAME", "rosalind")
    monkeypatch.setenv("SBATCH_ACCOUNT", "dna1952")


def corral(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_scripts_are_shown_without_names(tmp_path: Path) -> None:
    """Neither the home folder, nor the user, nor a project of the command line or of the environment is seen."""
    words = ["script", "--backend=local", "--memory=1GB", "--account=x-ray", "--prologue=echo rosalind dna1952"]
    plain, hidden = corral(*words), corral("--redact", *words)
    assert (plain.exit_code, hidden.exit_code) == (0, 0)
    assert {name for name in (str(tmp_path), "rosalind", "dna1952", "x-ray") if name not in plain.output} == set()
    assert {name for name in (str(tmp_path), "rosalind", "dna1952", "x-ray") if name in hidden.output} == set()
    assert "echo <user> <project>" in hidden.output
    assert "<project 2>" in hidden.output


def test_accounts_that_a_batch_system_names_are_hidden(tmp_path: Path) -> None:
    """Of a refusal too: they may be somebody else's."""
    table = Table(Queue(name="a", accounts=["climate"]))
    options = {"directory": str(tmp_path)}
    with pytest.raises(InvalidRequest) as refused:
        draw({"backend": "local", "backend_options": options, "memory": "1GB", "queue": "auto", "plugins": [table]})
    assert "account= may be climate)" in str(refused.value)
    assert "account= may be <project>)" in Redaction()(str(refused.value))


class Table:
    """A site that has one queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    @hookimpl(wrapper=True)
    def describe_queues(self) -> Generator[None, Any, Any]:
        yield
        return answered([self.queue])


def test_jobs_are_listed_without_hosts_and_projects() -> None:
    """One node stays one node: it has the same word on every line."""
    jobs = [
        JobLine(id=str(n), group="default", state="running", hosts=[host]) for n, host in enumerate(["n7", "n8", "n7"])
    ]
    asked = {"default": AskedLine(account="x-ray")}
    Entry(name="c", uuid="ab" * 16, backend="local", jobs=jobs, asked=asked).write()
    assert "x-ray" in corral("ps", "--json").output
    assert "x-ray" not in corral("--redact", "ps", "--json").output
    hidden = corral("--redact", "ps").output
    assert socket.gethostname() not in hidden
    assert "n7" not in hidden
    rows = [line.split() for line in hidden.splitlines() if "running" in line]
    assert len(rows) == 3
    assert rows[0][4:] == rows[2][4:] != rows[1][4:]


def test_errors_are_redacted_too() -> None:
    """They quote paths and names more than anything else."""
    failed = corral("--redact", "logs", "rosalind")
    assert failed.exit_code == 1
    assert "rosalind" not in failed.output
    assert "<user>" in failed.output


def test_words_that_only_contain_a_name_are_left_alone() -> None:
    redaction = Redaction()
    redaction.hide("user", "ann")
    redaction.hide("host", "n1.cluster.org", "n1")
    assert redaction("planning on n12, n1.cluster.org by ann/annual") == "planning on n12, <host> by <user>/annual"


@settings(deadline=None)
@given(st.text("ab-n1. /", max_size=40), st.lists(st.text("abn1", min_size=2, max_size=4), unique=True, max_size=3))
def test_no_name_is_left(text: str, names: list[str]) -> None:
    """Whatever stands around it, other than letters, digits and dashes."""
    redaction = Redaction()
    redaction.hide("host", *names)
    for word in redaction(text).replace("/", " ").replace(".", " ").split():
        assert word not in names
