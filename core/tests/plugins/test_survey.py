"""What `corral backends` tells of every backend that is installed, and of those that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from corral.allocation.detect import read_grant
from corral.batch.detection import detect_all, survey
from corral.batch.runner import Runner
from corral.cli import main
from corral.cluster.registry import Entry, JobLine
from corral.doctor.environment import plugins
from corral.errors import NoAllocation, PluginError, UnknownBackend
from corral.plugin import discovery
from corral.plugin.values import JobId, Verdict
from corral.request.drawing import draw

Install = Callable[..., None]

ACME = Path(__file__).parent.parent / "testing" / "acme"


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host without any command of a batch system."""
    monkeypatch.setenv("PATH", str(tmp_path))


def listed(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["backends", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.usefixtures("nowhere")
def test_each_backend_that_is_not_here_or_not_in_order_is_told_with_the_reason(install: Install) -> None:
    """Clashes of names, other contracts, broken plugins, missing commands."""
    install("acme", "broken/import_error", "broken/new_contract", "broken/old_contract", "broken/misspelt")
    install("broken/same_name/one", "broken/same_name/two", "broken/exits")
    text = listed()
    for reason in (
        "acme: there is no 'acstat' here",
        "import_error (corral-import-error): 'corral_import_error:Broken' cannot be imported: ModuleNotFoundError",
        "new_contract (corral-new-contract): version 1.0 speaks contract v2",
        "old_contract (corral-old-contract): version 1.0 speaks contract v0",
        "misspelt (corral-misspelt): there is no hook 'pol_status'",
        "several distributions have a backend of this name: corral-same-one 1.0 and corral-same-two 1.0",
        "exits (corral-exits): 'corral_exits:Broken' cannot be imported: SystemExit: usage: corral_exits JOB",
    ):
        assert reason in text
    [local] = [line for line in text.splitlines() if line.startswith("local ")]
    assert "this machine" in local


@pytest.mark.usefixtures("nowhere")
def test_programs_get_one_object_a_backend(install: Install) -> None:
    """With the reason, too."""
    install("acme", "broken/exits")
    found = {each["name"]: each for each in map(json.loads, listed("--json").splitlines())}
    assert (found["local"]["is_here"], found["local"]["is_usable"], found["local"]["reason"]) == (True, True, "")
    assert (found["acme"]["is_here"], found["acme"]["is_usable"]) == (False, True)
    assert (found["exits"]["is_usable"], found["exits"]["tried"]) == (False, None)
    assert "SystemExit" in found["exits"]["reason"]
    assert {each["contract"] for each in found.values()} == {"v1"}


@pytest.mark.usefixtures("nowhere")
async def test_a_plugin_that_ends_the_program_ends_nothing(install: Install) -> None:
    """Nobody chose it; who does gets an error that names it."""
    install("acme", "broken/exits")
    assert await detect_all(Runner()) == {}
    with pytest.raises(PluginError, match="corral-exits.*SystemExit"):
        discovery.load("exits")


async def test_what_is_installed_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each backend again: there may be hundreds of distributions, on a file server."""
    discovery.enclosing()
    looks = []

    def counted() -> list[discovery.Installed]:
        looks.append(installed())
        return looks[-1]

    installed = discovery.installed
    monkeypatch.setattr(discovery, "installed", counted)
    await survey(Runner())
    assert len(looks) == 1
    with pytest.raises(NoAllocation):
        await read_grant(None, environ={})
    assert len(looks) == 3, "and once more to say what there is"


async def test_a_question_that_fails_is_the_reason(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the words of its command."""
    install("acme")
    (tmp_path / "acstat").write_text("#!/bin/sh\necho 'acstat: no master' >&2\nexit 3\n")
    (tmp_path / "acstat").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    [acme] = [each for each in await survey(Runner()) if each.plugin.name == "acme"]
    assert (acme.detected, acme.is_usable) == (None, True)
    assert "no master" in acme.reason


def test_logs_are_json_for_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object per job; with its text if it is the one that was asked for."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    log = tmp_path / "7_0.log"
    log.write_text("one\ntwo\n")
    runner = CliRunner()
    assert runner.invoke(main, ["logs", "--json"], catch_exceptions=False).stdout == ""
    entry = Entry.of(draw({"backend": "local", "memory": "1GB", "name": "mine"}))
    line = JobLine(
        id=JobId("7_0").text, group="default", state="running", workers=1, expected_workers=1, hosts=(), reason="",
        has_ended=False, log=str(log),
    )  # fmt: skip
    evolve(entry, jobs=(line,)).write()
    [each] = map(json.loads, runner.invoke(main, ["logs", "--json"], catch_exceptions=False).stdout.splitlines())
    assert each == {"job": "7_0", "state": "running", "cluster": "mine", "group": "default", "log": str(log)}
    done = runner.invoke(main, ["logs", "7_0", "--json", "--lines", "1"], catch_exceptions=False)
    assert json.loads(done.stdout)["text"] == "two\n"


def test_an_unknown_backend_is_answered_with_those_that_are_there() -> None:
    """As before."""
    with pytest.raises(UnknownBackend, match="Did you mean 'slurm'"):
        discovery.load("slrum")


@pytest.mark.usefixtures("nowhere")
def test_the_doctor_names_each_plugin_that_cannot_be_used(install: Install) -> None:
    """Those that can are not kept from being listed by it."""
    install("acme", "broken/import_error", "broken/new_contract", "broken/exits", "site")
    found = {each.subject: each for each in plugins()}
    for name, words in (
        ("import_error", "ModuleNotFoundError"),
        ("new_contract", "speaks contract v2"),
        ("exits", "SystemExit"),
    ):
        assert found[f"backend {name}"].verdict is Verdict.DOUBTFUL
        assert words in found[f"backend {name}"].text
    assert "acme (corral-acme" in found["plugins"].text
    assert "barn (corral-barn" in found["plugins"].text
