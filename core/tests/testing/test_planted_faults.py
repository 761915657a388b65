"""Each law finds the fault that it is there for."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from corral.testing import BackendConformance

HERE = Path(__file__).parent

#: Where they are, by what they are about.
MODULES = sorted(path.stem for path in (HERE / "acme").glob("faults*.py"))

#: Nested runs of pytest: their order is fixed, and the hooks under test have no event loop.
PLAIN = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider")

#: What no fault of a plugin can break: these laws are about its declarations.
OF_DECLARATIONS = {"test_an_id_was_seen_from_both_sides"}

#: What is about an option that Acme does not have; see the last test.
OF_OPTIONS = {"test_where_arrays_are_refused_each_job_is_submitted_alone"}

#: What `test_live_faults.py` is about.
LIVE = {name for name in dir(BackendConformance) if name.startswith("test_live_")}

LAWS = {name for name in dir(BackendConformance) if name.startswith("test_")} - OF_DECLARATIONS - OF_OPTIONS - LIVE

BROKEN = """
import sys
sys.path.insert(0, {acme!r})

from corral.plugin.validation import NamedPlugin, assemble
from faults import FAULTS

for name in {modules!r}:
    __import__(name)

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
    for name in MODULES:
        importlib.import_module(name)
    faults = importlib.import_module("faults")
    return {fault.__name__: law for fault, law in faults.FAULTS.items()}


def test_every_law_has_a_planted_fault(faults: dict[str, str]) -> None:
    """A law that no fault breaks may be no law."""
    assert set(faults.values()) == LAWS


def test_each_fault_is_found_by_its_law(pytester: pytest.Pytester, faults: dict[str, str]) -> None:
    """A backend with one fault fails the law that is about it."""
    laws = (HERE / "test_acme_conformance.py").read_text()
    file = pytester.makepyfile(laws + BROKEN.format(acme=str(HERE / "acme"), modules=MODULES))
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


@pytest.mark.parametrize(("fault", "failures"), [("", 0), ("gives up", 1), ("writes another script", 1)])
def test_a_backend_must_do_without_arrays_where_they_are_refused(
    pytester: pytest.Pytester, fault: str, failures: int
) -> None:
    """As it does where it was told, and with the same script."""
    file = pytester.makepyfile(
        f"""
        import sys
        sys.path.insert(0, {str(HERE / "acme")!r})

        from attrs import evolve
        from corral.plugin import Command, Completed, JobId, arrayed_or_alone, hookimpl
        from corral.plugin.validation import NamedPlugin, assemble
        from corral.testing import BackendConformance, Submits
        from corral_acme import Acme

        FAULT = {fault!r}

        class Single(Acme):
            def __init__(self, arrays):
                self.arrays, self.lacks = arrays, set()

            @hookimpl
            def submit(self, script, count):
                array = super().submit(script, count) if self.arrays else None
                if FAULT == "gives up" and self.arrays:
                    return (yield from array)
                return (yield from arrayed_or_alone(
                    array, lambda: self.alone(script), count, classify=lambda _: None, lacks=self.lacks
                ))

            def alone(self, script):
                text = str(script) + "# again" * (FAULT == "writes another script" and self.arrays)
                done = yield Command(["acsub"], stdin=text)
                return JobId(done.last_line())

            batch_size = 1000

        class TestSingle(BackendConformance):
            backend = "acme"
            alone = Submits([Completed(stdout="4"), Completed(stdout="5")], ids=["4", "5"])

            def manager(self, *around, arrays=True):
                return assemble(NamedPlugin(name="acme", plugin=Single(arrays)), [])
        """
    )
    run = pytester.inline_run(*PLAIN, f"{file}::TestSingle::{next(iter(OF_OPTIONS))}")
    assert len(run.getfailures()) == failures
