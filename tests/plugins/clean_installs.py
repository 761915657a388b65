"""Each distribution as a user gets it: built, installed with nothing but what it needs, and tested from its sdist.

    python tests/plugins/clean_installs.py [NAME ...] [--all]

`nox -s dists` runs this. Wheels are installed with those of the same run, never with published ones. What would be
published is left in dist/.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field
from distributions import FOLDERS, ROOT, Built, build_all, closure, run

#: Run in the new environment, with the name of the distribution: all of its own that others start can be loaded.
PROBE = """
import importlib, sys
from importlib.metadata import distribution
package = importlib.import_module(sys.argv[1].replace("-", "_"))
assert package.__file__.startswith(sys.prefix), package.__file__
for each in distribution(sys.argv[1]).entry_points:
    each.load()
"""

#: Of the tests in the core's sdist, those that start nothing and take no minutes.
QUICK = (
    "plugins", "testing/test_acme_conformance.py", "testing/test_driving.py", "testing/test_quern_conformance.py",
    "test_demand.py", "test_nodes.py", "test_parsing.py", "test_private.py", "test_queues.py", "test_scenario.py",
)  # fmt: skip

#: How the core's tests are run, as the workspace's settings have it.
OF_THE_CORE = ("-o", "asyncio_mode=auto", "--import-mode=importlib", "--timeout=120")


@define
class Course:
    """What was done with one distribution, and how long it took."""

    name: str
    #: Seconds of each step.
    seconds: dict[str, float] = field(factory=dict)
    #: pytest's last line.
    tests: str = ""
    #: What ended it.
    failure: str = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - began

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        return f"{self.name}: {steps}; {self.tests or 'FAILED'}"


def try_alone(name: str, built: Mapping[str, Built], *, everything: bool) -> Course:
    """Install one with what it needs, load what it offers, and run its tests on the installed wheel."""
    course = Course(name)
    # Outside of the workspace, whose settings of pytest would be found there.
    with TemporaryDirectory(prefix=f"{name}-") as place:
        environment, tests = Path(place) / "environment", Path(place) / "tests"
        python = environment / "bin/python"
        try:
            with course.step("install"):
                run("uv", "venv", "--quiet", "--python", sys.executable, environment)
                _install(python, [each.wheel for each in closure(name, built)])
                run("uv", "pip", "check", "--quiet", "--python", python)
            with course.step("load"):
                run(python, "-I", "-c", PROBE, name)
            with course.step("test"):
                _install_for_tests(python, name, built)
                _unpack(built[name].sdist, tests)
                course.tests = _test(python, tests, name, everything=everything)
        except RuntimeError as failure:
            course.failure = str(failure)
    print(course, flush=True)
    return course


def _install(python: Path, what: Sequence[str | Path]) -> None:
    run("uv", "pip", "install", "--quiet", "--python", python, *what)


def _install_for_tests(python: Path, name: str, built: Mapping[str, Built]) -> None:
    """What the sdist's tests need: the extra ``test``; and all of ours from this run."""
    wheels = {each.name: each.wheel for each in closure(name, built, "test")}
    extras = {"corral": "[testing]", name: "[test]"}
    _install(python, [f"{each}{extras.get(each, '')} @ {wheel.as_uri()}" for each, wheel in wheels.items()])


def _unpack(sdist: Path, into: Path) -> None:
    """Without its source: what is tested is what is installed."""
    into.mkdir()
    run("tar", "--extract", "--file", sdist, "--directory", into, "--strip-components=1")
    shutil.rmtree(into / "src")


def _test(python: Path, where: Path, name: str, *, everything: bool) -> str:
    """pytest's last line."""
    words = ["tests"]
    if name == "corral":
        words = [*OF_THE_CORE, *(["tests"] if everything else [f"tests/{each}" for each in QUICK])]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CORRAL_", "PYTEST_", "PYTHON"))}
    # What is tried here is the package; the laws have their usual number of examples in the workspace.
    kept["CORRAL_EXAMPLES"] = os.environ.get("CORRAL_EXAMPLES", "5")
    said = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, cwd=where, env=kept)
    return said.strip().splitlines()[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each, and at the end what failed."""
    parser = argparse.ArgumentParser(prog="nox -s dists --", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="distributions to try; by default, all")
    parser.add_argument("--all", action="store_true", help="all tests in the core's sdist, not only the quick ones")
    said = parser.parse_args(arguments)
    if unknown := set(said.names) - FOLDERS.keys():
        parser.error(f"no distribution is named {', '.join(sorted(unknown))}; there are {', '.join(FOLDERS)}")
    began = time.monotonic()
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    built = build_all(list(FOLDERS), ROOT / "dist")
    print(f"built {len(built)} in {time.monotonic() - began:.0f} s", flush=True)
    files = [path for each in built.values() for path in (each.sdist, each.wheel)]
    run(sys.executable, "-m", "twine", "check", "--strict", *files)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        courses = list(pool.map(lambda name: try_alone(name, built, everything=said.all), said.names or FOLDERS))
    failed = [course for course in courses if course.failure]
    for course in failed:
        print(f"\n--- {course.name} ---\n{course.failure}")
    print(f"{len(courses) - len(failed)} of {len(courses)} are well, after {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
