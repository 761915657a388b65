"""Tests on real batch systems: when they run, when they are skipped, and when a skip is a failure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import batch_systems
import pytest

from corral.plugin import discovery

TESTS = """
    import os
    import pytest

    @pytest.mark.real("slurm")
    def test_slurm():
        print("SLURM_CONF is", os.environ.get("SLURM_CONF"))

    @pytest.mark.real("lsf")
    def test_lsf():
        pass

    def test_neither():
        pass
"""

Program = Callable[[str, str], None]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Runs the three tests above with these options, on a machine without any batch system."""
    monkeypatch.setattr(batch_systems, "SCRIPTS", pytester.mkdir("scripts"))
    monkeypatch.setenv("PATH", f"{pytester.mkdir('programs')}:/usr/bin:/bin")
    monkeypatch.setattr(batch_systems, "PROBES", {"slurm": ["answers-slurm"], "lsf": ["answers-lsf"]})
    # What answers here runs no jobs, and is not asked to.
    monkeypatch.setattr(batch_systems, "PROGRAMS", {"slurm", "lsf"})
    monkeypatch.delenv("CI", raising=False)
    pytester.makeini("[pytest]\nmarkers = real(name): real batch system\n")
    pytester.makeconftest('pytest_plugins = ["batch_systems"]')
    pytester.makepyfile(TESTS)
    return lambda *options: pytester.runpytest_inprocess("-rs", "-s", "-p", "no:randomly", "-p", "no:asyncio", *options)


@pytest.fixture
def program(pytester: pytest.Pytester) -> Program:
    """Writes a program or a script of the project: its path below the test's folder, and shell text."""

    def write(name: str, text: str) -> None:
        path = pytester.path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    return write


def test_a_batch_system_that_answers_is_used(run: Callable[..., pytest.RunResult], program: Program) -> None:
    """The other is skipped, with what is missing."""
    program("programs/answers-slurm", "exit 0")
    outcome = run()
    outcome.assert_outcomes(passed=2, skipped=1)
    outcome.stdout.fnmatch_lines("*lsf: there is no answers-lsf on PATH")


def test_a_batch_system_that_is_down_says_so(run: Callable[..., pytest.RunResult], program: Program) -> None:
    """The reason of the skip is what its own command printed."""
    program("programs/answers-slurm", "echo Unable to contact slurm controller >&2; exit 1")
    outcome = run()
    outcome.assert_outcomes(passed=1, skipped=2)
    outcome.stdout.fnmatch_lines("*slurm: answers-slurm failed: Unable to contact slurm controller")


def test_none_skips_even_what_answers(run: Callable[..., pytest.RunResult], program: Program) -> None:
    """For a quick run."""
    program("programs/answers-slurm", "exit 0")
    run("--batch-systems=none").assert_outcomes(passed=1, skipped=2)


def test_one_backend_alone(run: Callable[..., pytest.RunResult], program: Program) -> None:
    """Tests that need no batch system, or another one, are not even collected."""
    program("programs/answers-slurm", "exit 0")
    run("--backend=slurm").assert_outcomes(passed=1, deselected=2)


def test_install_brings_up_what_does_not_answer_and_down_again(
    run: Callable[..., pytest.RunResult], program: Program, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests see the variables that the script exports; the down script runs once, at the end."""
    monkeypatch.setenv("SLURM_CONF", "/before")
    program("programs/answers-slurm", "test -e up")
    program("scripts/slurm-up.sh", "touch up; echo noise; echo \"export SLURM_CONF='/own place/slurm.conf'\"")
    program("scripts/slurm-down.sh", "echo down >>downs; rm up")
    outcome = run("--batch-systems=install")
    outcome.assert_outcomes(passed=2, skipped=1)
    outcome.stdout.fnmatch_lines("*SLURM_CONF is /own place/slurm.conf*")
    assert (pytester.path / "downs").read_text() == "down\n"


def test_install_leaves_alone_what_answers(
    run: Callable[..., pytest.RunResult], program: Program, pytester: pytest.Pytester
) -> None:
    """Neither script is run."""
    program("programs/answers-slurm", "exit 0")
    program("scripts/slurm-up.sh", "touch touched")
    program("scripts/slurm-down.sh", "touch touched")
    run("--batch-systems=install").assert_outcomes(passed=2, skipped=1)
    assert not (pytester.path / "touched").exists()


def test_a_failing_script_is_the_reason(run: Callable[..., pytest.RunResult], program: Program) -> None:
    """With what it said last."""
    program("scripts/slurm-up.sh", "echo must be root >&2; exit 1")
    outcome = run("--batch-systems=install")
    outcome.assert_outcomes(passed=1, skipped=2)
    outcome.stdout.fnmatch_lines(["*slurm-up.sh failed with exit code 1*", "*must be root*"], consecutive=False)


@pytest.mark.parametrize("mode", ["found", "install", "none"])
def test_in_ci_a_skip_that_a_script_could_prevent_is_a_failure(
    run: Callable[..., pytest.RunResult], program: Program, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Slurm can be installed, so its test must run; LSF cannot, so its test may be skipped."""
    monkeypatch.setenv("CI", "true")
    program("scripts/slurm-up.sh", "exit 1")
    outcome = run(f"--batch-systems={mode}")
    outcome.assert_outcomes(passed=1, skipped=1, errors=1)
    assert outcome.ret == pytest.ExitCode.TESTS_FAILED
    outcome.stdout.fnmatch_lines("In CI this test must run: see --batch-systems=install.")


def test_root_may_skip_in_ci_what_runs_no_jobs_of_root(
    run: Callable[..., pytest.RunResult], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTCondor answers root, and refuses root's jobs: another user is asked to run its tests."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(batch_systems, "NOT_FOR_ROOT", {"slurm"})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    program("programs/answers-slurm", "exit 0")
    program("scripts/slurm-up.sh", "exit 0")
    outcome = run()
    outcome.assert_outcomes(passed=1, skipped=2)
    outcome.stdout.fnmatch_lines("*slurm: it runs no jobs of root; run these tests as another user")


def test_in_ci_a_skip_inside_a_real_test_is_a_failure_too(
    run: Callable[..., pytest.RunResult], program: Program, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expected failure is none."""
    monkeypatch.setenv("CI", "true")
    program("programs/answers-slurm", "exit 0")
    program("scripts/slurm-up.sh", "exit 0")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.real("slurm")
        def test_that_gives_up():
            pytest.skip("no GPUs here")

        @pytest.mark.real("slurm")
        @pytest.mark.xfail
        def test_that_fails_as_expected():
            assert False
        """
    )
    outcome = run()
    outcome.assert_outcomes(failed=1, xfailed=1)
    outcome.stdout.fnmatch_lines("no GPUs here")


@pytest.mark.parametrize(("has", "outcomes"), [("", {"skipped": 1}), ("plugins accounting", {"passed": 1})])
def test_what_a_batch_system_was_not_brought_up_with_is_skipped(
    run: Callable[..., pytest.RunResult],
    program: Program,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    has: str,
    outcomes: dict[str, int],
) -> None:
    """In CI too: it has such a Slurm on Debian 13, beside a plain one."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("CORRAL_SLURM_WITH", has)
    program("programs/answers-slurm", "exit 0")
    program("scripts/slurm-up.sh", "exit 0")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.real("slurm", having="accounting")
        def test_sacct():
            pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(**outcomes)
    if not has:
        outcome.stdout.fnmatch_lines("*slurm: brought up without accounting: see CORRAL_SLURM_WITH in slurm-up.sh")


def test_every_script_has_a_probe_and_its_opposite() -> None:
    """A batch system that the project can start it can also find and stop."""
    ups = {path.name.removesuffix("-up.sh") for path in batch_systems.SCRIPTS.glob("*-up.sh")}
    downs = {path.name.removesuffix("-down.sh") for path in batch_systems.SCRIPTS.glob("*-down.sh")}
    # These are programs alone: nothing runs, and nothing is to be stopped.
    # And in the newest Debian whole runs of the tests live: debian13.sh starts it.
    assert ups - {"chromium", "mpi", "tsp"} == downs - {"debian13"}
    assert ups <= set(batch_systems.PROBES)
    backends = {each.name for each in discovery.usable("backend")}
    assert backends - {batch_systems.EVERYWHERE} <= set(batch_systems.PROBES)
    assert Path(batch_systems.__file__).parent.parent / "batch-systems" == batch_systems.SCRIPTS


def test_scripts_that_install_wait_for_each_other() -> None:
    """``apt-get update`` fails at once where another one is under way, whatever the time-out for dpkg's lock."""
    lines = [line for path in batch_systems.SCRIPTS.glob("*-up.sh") for line in path.read_text().splitlines()]
    installing = [
        line for line in lines if re.search(r"^[^#]*apt-get .*(update|install)\b", line) and "fail " not in line[:9]
    ]
    assert len(installing) == 16
    assert [line for line in installing if "flock -o /var/lib/apt apt-get" not in line] == []
