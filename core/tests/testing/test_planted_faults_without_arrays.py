"""Laws find faults of a backend without arrays, too."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: Nested runs of pytest: their order is fixed, and the hooks under test have no event loop.
PLAIN = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider")

BROKEN = """
import sys
sys.path.insert(0, {quern!r})

from corral.plugin.validation import NamedPlugin, assemble
from quern_faults import FAULTS

for fault in FAULTS:
    def manager(self, *around, fault=fault):
        return assemble(NamedPlugin(name="quern", plugin=fault()), [NamedPlugin.of_user(plugin) for plugin in around])

    changes = dict(manager=manager, transcripts=Path({quern!r}) / "transcripts")
    broken = type("Test" + fault.__name__, (TestQuern,), changes)
    globals()[broken.__name__] = broken

del TestQuern, broken
"""


def test_each_fault_is_found_by_its_law(pytester: pytest.Pytester) -> None:
    """A backend with one fault fails the law that is about it."""
    faults = {fault.__name__: law for fault, law in importlib.import_module("quern_faults").FAULTS.items()}
    laws = (HERE / "test_quern_conformance.py").read_text()
    file = pytester.makepyfile(laws + BROKEN.format(quern=str(HERE / "quern")))
    run = pytester.inline_run(*PLAIN, *[f"{file}::Test{fault}::{law}" for fault, law in faults.items()])
    failed = {report.nodeid.split("::")[1] for report in run.getfailures() if report.when == "call"}
    assert failed == {f"Test{fault}" for fault in faults}
