"""Each law finds the fault that it is there for."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from corral.testing import BackendConformance

HERE = Path(__file__).parent

#: Nested runs of pytest: their order is fixed, and the hooks under test have no event loop.
PLAIN = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider")

#: What no fault of a plugin can break: these laws are about its declarations.
OF_DECLARATIONS = {"test_an_id_was_seen_from_both_sides"}

LAWS = {name for name in dir(BackendConformance) if name.startswith("test_")} - OF_DECLARATIONS

BROKEN = """
import sys
sys.path.insert(0, {acme!r})

from corral.plugin.validation import NamedPlugin, assemble
from faults import FAULTS

for fault in FAULTS:
    def manager(self, *around, fault=fault):
        return assemble(NamedPlugin(name="acme", plugin=fault()), [NamedPlugin.of_user(plugin) for plugin in around])

    changes = dict(manager=manager, transcripts=Path({acme!r}) / "transcripts")
    broken = type("Test" + fault.__name__, (TestAcme,), changes)
    globals()[broken.__name__] = broken

del TestAcme, broken
"""


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """The names of the planted faults and of the laws that must find them."""
    faults = importlib.import_module("faults")
    return {fault.__name__: law for fault, law in faults.FAULTS.items()}


def test_every_law_has_a_planted_fault(faults: dict[str, str]) -> None:
    """A law that no fault breaks may be no law."""
    assert set(faults.values()) == LAWS


def test_each_fault_is_found_by_its_law(pytester: pytest.Pytester, faults: dict[str, str]) -> None:
    """A backend with one fault fails the law that is about it."""
    laws = (HERE / "test_acme_conformance.py").read_text()
    file = pytester.makepyfile(laws + BROKEN.format(acme=str(HERE / "acme")))
    run = pytester.inline_run(*PLAIN, *[f"{file}::Test{fault}::{law}" for fault, law in faults.items()])
    failed = {report.nodeid.split("::")[1] for report in run.getfailures() if report.when == "call"}
    assert failed == {f"Test{fault}" for fault in faults}


def test_a_job_must_be_known_from_both_sides(pytester: pytest.Pytester) -> None:
    """Ids that were read from one job's submission and another job's inside prove nothing."""
    file = pytester.makepyfile(
        """
        from corral.testing import BackendConformance, Inside, Submits

        class TestDeclarations(BackendConformance):
            recordings = (Submits(["submit.txt"], ids=["4.0"]), Inside(environ={}, job_id="9.9", hosts=["node01"]))
        """
    )
    run = pytester.inline_run(*PLAIN, f"{file}::TestDeclarations::test_an_id_was_seen_from_both_sides")
    assert len(run.getfailures()) == 1
