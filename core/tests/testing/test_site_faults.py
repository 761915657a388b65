"""Each law of sites finds the faults that it is there for."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from corral.testing import SiteConformance
from corral.testing.golden import compare

pytest.importorskip("corral_slurm")

HERE = Path(__file__).parent

#: Nested runs of pytest: their order is fixed, and the hooks under test have no event loop.
PLAIN = ("-p", "no:randomly", "-p", "no:asyncio", "-p", "no:cacheprovider", "--tb=no")

#: What is about declarations, of which the last tests are.
OF_DECLARATIONS = {"test_examples_say_where_they_are_from"}

LAWS = {name for name in dir(SiteConformance) if name.startswith("test_")} - OF_DECLARATIONS

BROKEN = """
import sys
sys.path.insert(0, {harbour!r})

from faulty_sites import FAULTS

for _, fault in FAULTS:
    def make(self, fault=fault, **options):
        {machine}
        return fault(**options)

    changes = dict(make=make, golden=Path({harbour!r}) / {golden!r})
    broken = type("Test" + fault.__name__, ({base},), changes)
    globals()[broken.__name__] = broken

del TestHarbour, TestQuay, broken
"""

MACHINES = {
    "with arrays": {"machine": "", "golden": "golden", "base": "TestHarbour"},
    "without arrays": {
        "machine": "from corral_harbour import Quay; fault.backend_options = Quay.backend_options",
        "golden": "golden-quay",
        "base": "TestQuay",
    },
}


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """The names of the planted faults and of the laws that must find them."""
    found = {fault.__name__: law for law, fault in importlib.import_module("faulty_sites").FAULTS}
    assert len(found) > 60, "two have one name"
    return found


def test_every_law_has_a_planted_fault(faults: dict[str, str]) -> None:
    """A law that no fault breaks may be no law."""
    assert set(faults.values()) == LAWS


@pytest.mark.parametrize("machine", MACHINES)
def test_each_fault_is_found_by_its_law(pytester: pytest.Pytester, faults: dict[str, str], machine: str) -> None:
    """A site with one fault fails the law that is about it, on a backend with arrays and on one without."""
    laws = (HERE / "test_harbour_conformance.py").read_text()
    file = pytester.makepyfile(laws + BROKEN.format(harbour=str(HERE / "harbour"), **MACHINES[machine]))
    run = pytester.inline_run(*PLAIN, *[f"{file}::Test{fault}::{law}" for fault, law in faults.items()])
    failed = {report.nodeid.split("::")[1] for report in run.getfailures()}
    assert failed == {f"Test{fault}" for fault in faults}


@pytest.mark.parametrize(
    ("examples", "files"),
    [
        ('Example("a", "somewhere"),', ["a.sh"]),
        ('Example("a", "docs.harbour.example/a"), Example("a", "docs.harbour.example/b"),', ["a.sh"]),
        ('Example("a", "docs.harbour.example/a"),', ["a.sh", "b.sh"]),
    ],
    ids=["no source", "two of one name", "a file of none"],
)
def test_examples_are_held_to_their_files(pytester: pytest.Pytester, examples: str, files: list[str]) -> None:
    """Each has a source and a name of its own, and no file is left over."""
    file = pytester.makepyfile(
        f"""
        from pathlib import Path
        from corral.testing import Example, SiteConformance

        class TestExamples(SiteConformance):
            site = "harbour"
            examples = ({examples})
            golden = Path(__file__).parent
        """
    )
    for name in files:
        (pytester.path / name).touch()
    run = pytester.inline_run(*PLAIN, f"{file}::TestExamples::test_examples_say_where_they_are_from")
    assert len(run.getfailures()) == 1


def test_all_laws_of_the_backend_can_be_tried(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the site, by a variable; by default only what was recorded is compared."""
    file = pytester.makepyfile((HERE / "test_harbour_conformance.py").read_text())
    chosen = (*PLAIN, "-k", "ItsBackend and (skipping or reaches_every_host or banner)", f"{file}::TestHarbour")
    assert pytester.inline_run(*chosen).countoutcomes() == [0, 0, 0]
    monkeypatch.setenv("CORRAL_LAWS", "all")
    passed, _, failed = pytester.inline_run(*chosen).countoutcomes()
    assert (passed > 20, failed) == (True, 0)


def test_all_laws_of_the_backend_can_be_tried_through_a_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that only the variables of `environment` lead to; and it is that, not one that is installed."""
    written = pytester.path / "sites.yaml"
    written.write_text((HERE / "harbour" / "harbour.yaml").read_text().replace("--reservation=debug", "--qos=debug"))
    file = pytester.makepyfile(
        f"""
        from corral.testing import SiteConformance

        class TestWritten(SiteConformance):
            site = "harbour"
            arguments = {{"account": "physics"}}
            environment = {{"CORRAL_SITES": {str(written)!r}}}

            def test_it_is_the_one_in_the_file(self, house):
                assert house.description.nodes[-1].directives == ("--qos=debug",)
        """
    )
    monkeypatch.setenv("CORRAL_LAWS", "all")
    laws = [f"{file}::TestWritten::test_it_is_the_one_in_the_file", f"{file}::TestWritten::TestItsBackend"]
    passed, _, failed = pytester.inline_run(*PLAIN, "-k", "in_the_file or banner", *laws).countoutcomes()
    assert (passed > 1, failed) == (True, 0)


def test_a_script_that_changes_shows_the_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole script, with the lines marked that only one of them has; who means it writes it anew."""
    path, before, after = tmp_path / "golden" / "a.sh", "#!/bin/sh\n--mem=1\ntrue\n", "#!/bin/sh\n--mem=2\ntrue\n"
    with pytest.raises(pytest.fail.Exception, match="CORRAL_GOLDEN=write pytest"):
        compare(path, before)
    monkeypatch.setenv("CORRAL_GOLDEN", "write")
    compare(path, before)
    monkeypatch.delenv("CORRAL_GOLDEN")
    compare(path, before)
    with pytest.raises(pytest.fail.Exception) as failed:
        compare(path, after)
    assert str(failed.value).splitlines()[-4:] == [" #!/bin/sh", "---mem=1", "+--mem=2", " true"]
