"""Each live law finds the fault that it is there for, on a batch system of three commands that runs its jobs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from corral.testing import BackendConformance

HERE = Path(__file__).parent

#: A nested run of pytest: its order is fixed, and it has no event loop.
PLAIN = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider")

PREFIX = "test_live_"

BROKEN = """
import os
import sys
sys.path.insert(0, {acme!r})

from attrs import evolve
from corral.plugin.validation import NamedPlugin, assemble
from corral.testing.laws.live import LiveLaws
from live_faults import FAULTS

HERE = Path({acme!r})

for fault in FAULTS:
    def manager(self, *around, fault=fault):
        return assemble(NamedPlugin(name="acme", plugin=fault()), [])

    def live_manager(self, live, folder):
        # A queue of its own: none is asked about the jobs of all others.
        (folder / "acme").mkdir()
        os.environ["ACME_HOME"] = str(folder / "acme")
        return self.manager()

    # All of them fail: none is to be waited for.
    live = evolve(TestAcme.live, patience=4.0)
    changes = dict(
        backend="acme",
        transcripts=HERE / "transcripts",
        recordings=TestAcme.recordings,
        manager=manager,
        live=live,
        live_manager=live_manager,
    )
    broken = type("Test" + fault.__name__, (LiveLaws,), changes)
    globals()[broken.__name__] = broken

del TestAcme, broken
"""


@pytest.fixture
def faults() -> dict[str, str]:
    """The names of the planted faults and of the laws that must find them."""
    module = importlib.import_module("live_faults")
    return {fault.__name__: PREFIX + law for fault, law in module.FAULTS.items()}


def test_what_waits_for_a_walltime_comes_last_of_its_file(pytester: pytest.Pytester) -> None:
    """Not last of all: some batch systems forget soon what has ended."""
    laws = """
        from corral.testing.laws.live import LiveLaws

        class TestFirst(LiveLaws):
            backend = "local"

        class TestSecond(TestFirst):
            pass
    """
    pytester.makepyfile(test_one=laws, test_two=laws)
    found = pytester.inline_run(*PLAIN, "-p", "corral.testing.live", "--live", "--collect-only")
    [call] = found.getcalls("pytest_collection_finish")
    names = [(item.path.stem, item.originalname) for item in call.session.items]
    late = "test_live_too_long"
    assert names[len(names) // 2 - 2 : len(names) // 2] == [("test_one", late)] * 2
    assert names[-2:] == [("test_two", late)] * 2
    assert sum(name == late for _, name in names) == 4


def test_every_live_law_has_a_planted_fault(faults: dict[str, str]) -> None:
    """A law that no fault breaks may be no law."""
    assert set(faults.values()) == {name for name in dir(BackendConformance) if name.startswith(PREFIX)}


def test_each_fault_is_found_by_its_live_law(pytester: pytest.Pytester, faults: dict[str, str]) -> None:
    """A backend with one fault fails the law that is about it, and Acme itself keeps them all."""
    laws = (HERE / "test_acme_conformance.py").read_text()
    file = pytester.makepyfile(laws + BROKEN.format(acme=str(HERE / "acme")))
    names = [f"{file}::Test{fault}::{law}" for fault, law in faults.items()]
    run = pytester.inline_run(*PLAIN, "-p", "corral.testing.live", "--live", *names)
    failed = {
        report.nodeid.split("::")[1]: report.longreprtext for report in run.getfailures() if report.when == "call"
    }
    assert set(failed) == {f"Test{fault}" for fault in faults}
