"""Tests side by side: those on one batch system are in one lane, and first."""

from __future__ import annotations

from pathlib import Path

import lanes
import pytest

ONE = """
    import os
    import pytest

    def note(name):
        with open("order", "a") as file:
            print(os.environ["PYTEST_XDIST_WORKER"], name, file=file)

    @pytest.mark.parametrize("number", range(3))
    def test_plain(number):
        note("one")

    @pytest.mark.real("meadow")
    def test_real():
        note("meadow")
"""
OTHER = ONE.replace('"one"', '"other"')


def test_one_lane_for_each_batch_system_and_each_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real ones come first, whatever order the others have."""
    pytester.makeconftest("""
        import batch_systems
        batch_systems.PROBES["meadow"] = ["true"]
        # It runs no jobs.
        batch_systems.check_up = lambda name: batch_systems.CheckUp(setup=batch_systems.setups.of(name))
        pytest_plugins = ["batch_systems", "lanes"]
    """)
    plugins = Path(lanes.__file__).parent
    pytester.makeini(f"[pytest]\npythonpath = {plugins}\nmarkers = real(name): real batch system\n")
    pytester.makepyfile(test_one=ONE, test_other=OTHER)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    done = pytester.runpytest_subprocess("-n", "2", "--dist=loadgroup", "-p", "no:asyncio")
    done.assert_outcomes(passed=8)
    lines = [line.split() for line in (pytester.path / "order").read_text().splitlines()]
    workers_of = {name: {worker for worker, each in lines if each == name} for _, name in lines}
    assert {name: len(workers) for name, workers in workers_of.items()} == {"one": 1, "other": 1, "meadow": 1}
    [meadow] = workers_of["meadow"]
    assert [name for worker, name in lines if worker == meadow][:2] == ["meadow", "meadow"]


def test_each_worker_brings_up_its_own_and_all_are_taken_down(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of one that has crashed, or was killed after Ctrl-C."""
    pytester.makeconftest(f"""
        import batch_systems
        from pathlib import Path
        batch_systems.PROBES["meadow"] = ["sh", "-c", "test $MEADOW"]
        batch_systems.FOR_EACH["meadow"] = 1000
        batch_systems.PROGRAMS.add("meadow")
        batch_systems.SCRIPTS = Path("{pytester.path}")
        pytest_plugins = ["batch_systems"]
    """)
    for name in ("up", "down"):
        script = pytester.path / f"meadow-{name}.sh"
        script.write_text(
            f"#!/bin/sh\necho {name} $CORRAL_MEADOW_TOP $CORRAL_MEADOW_PORT >>said\necho export MEADOW=yes\n"
        )
        script.chmod(0o755)
    pytester.makeini(f"[pytest]\npythonpath = {Path(lanes.__file__).parent}\nmarkers = real(name): real batch system\n")
    pytester.makepyfile("""
        import os
        import pytest

        @pytest.mark.real("meadow")
        def test_that_crashes():
            os._exit(1)

        @pytest.mark.real("meadow")
        def test_that_is_left():
            assert os.environ["MEADOW"] == "yes"
    """)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("CI", raising=False)
    words = ["-n", "1", "--batch-systems=install", "-p", "no:asyncio", "-p", "no:randomly"]
    pytester.runpytest_subprocess(*words).assert_outcomes(passed=1, failed=1)
    second = "/var/lib/corral-meadow-gw1 1000"
    assert (pytester.path / "said").read_text().splitlines() == ["up", f"up {second}", f"down {second}", "down"]
