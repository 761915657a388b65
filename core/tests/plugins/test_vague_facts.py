"""Batch systems that say no version, or hold jobs to nothing: what users are told then."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from corral.batch import unenforced
from corral.batch.detection import decide, decide_there
from corral.cli import main
from corral.doctor.queues import answers
from corral.plugin import BackendFacts, Detected, Resources
from corral.plugin.discovery import installed
from corral.plugin.values import Verdict
from corral.request.drawing import batch_system, draw
from corral.testing import Detects

ACME = Path(__file__).parent.parent / "testing" / "acme"

VAGUE = """
from attrs import evolve
from corral.plugin import Command, Detected, hookimpl
from corral_acme import Acme

class Vague(Acme):
    facts = evolve(Acme.facts, title="Vague", unenforced={"memory", "walltime"})

    @hookimpl
    def detect(self):
        yield Command(["/bin/true"])
        return Detected()

    @hookimpl
    def find_jobs(self, name):
        yield Command(["/bin/true"])
        return []
"""


@pytest.fixture(autouse=True)
def vague(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A backend of that name is installed."""
    # No command of a batch system is here.
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    metadata = tmp_path / "corral_vague-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: corral-vague\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[corral.backends.v1]\nvague = corral_vague:Vague\n")
    (tmp_path / "corral_vague.py").write_text(VAGUE)
    monkeypatch.syspath_prepend(ACME)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(unenforced, "_told", set())
    yield
    for name in ("corral_vague", "corral_acme"):
        sys.modules.pop(name, None)


def corral(*words: str) -> str:
    done = CliRunner().invoke(main, words)
    return done.output


def test_a_batch_system_need_not_say_its_version() -> None:
    """It is found, chosen, listed and looked at all the same."""
    assert decide({"vague": Detected()}, []) == ("vague", "vague answers here")
    assert decide_there({"vague": Detected()}, "login1") == ("vague", "vague answers on login1")
    assert decide({"slurm": Detected(version="22.05.8")}, []) == ("slurm", "22.05.8 answers here")
    [line] = [line for line in corral("backends").splitlines() if line.startswith("vague ")]
    assert "answers, version not known" in line
    assert '"is_here": true, "batch_system": null' in corral("backends", "--json")


async def test_the_doctor_takes_it_for_good_without_a_version() -> None:
    """It lists jobs."""
    batch, _ = batch_system({"backend": "vague", "site": "none"})
    finding = await answers(batch)
    assert (finding.verdict, finding.text[:23]) == (Verdict.GOOD, "Vague; it lists jobs in")


def test_the_kit_tells_no_version_from_no_batch_system() -> None:
    """``version=None`` alone means that it is another one."""
    here = Detects(["version.txt"], version=None, is_here=True)
    here.is_right(Detected())
    Detects(["version.txt"], version=None).is_right(None)
    Detects(["version.txt"], version="3").is_right(Detected(version="3"))
    for declared, seen in (
        (here, None),
        (Detects(["version.txt"], version=None), Detected()),
        (Detects(["version.txt"], version="3"), Detected()),
    ):
        with pytest.raises(AssertionError):
            declared.is_right(seen)


def test_who_asks_for_what_nobody_enforces_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Where a cluster is drawn, as for `corral script`; who asks for nothing of it is told nothing."""
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            draw({"backend": "vague", "site": "none", "memory": "1GB", "cores": 4})
    told = [record.getMessage() for record in caplog.records if "does not hold" in record.getMessage()]
    assert told == [
        "Vague does not hold jobs to their memory or walltime: memory: Dask's workers keep to theirs by themselves, "
        "but nobody keeps it for them; walltime: its own launcher ends a job then, and nobody else"
    ]
    assert unenforced.told_once(BackendFacts(unenforced={"gpus"}), "X", Resources(), None) == ""


def test_backends_are_listed_with_what_they_do_not_enforce() -> None:
    """For people and for programs."""
    assert "vague: does not hold jobs to their memory or walltime" in corral("backends")
    assert '"unenforced": ["memory", "walltime"]' in corral("backends", "--json")
    told = json.loads(corral("backends", "vague", "--json"))
    assert sorted(told["facts"]["unenforced"]) == ["memory", "walltime"]


@pytest.mark.parametrize("names", [{"mem"}, "memory", {"memory", "queue"}])
def test_what_is_no_amount_is_refused(names: set[str]) -> None:
    """The word is that of the request."""
    with pytest.raises(ValueError, match=r"write a set with some of cores, gpus, memory, nodes, walltime"):
        BackendFacts(unenforced=names)


def test_facts_are_those_of_the_class() -> None:
    """The made-up backend is the one under test."""
    [plugin] = [each for each in installed() if each.name == "vague"]
    assert plugin.facts.unenforced == {"memory", "walltime"}
