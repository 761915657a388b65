"""Every task a person runs: `nox --list`; arguments after `--` go to the program that the session is about."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
#: The folder of each distribution, the core first.
MEMBERS = ["core", *(f"plugins/{name}" for name in PLUGINS)]
MEMBERS += sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("contrib/*/pyproject.toml"))

#: Most tests wait for processes; those on one real batch system run one after the other all the same.
SIDE_BY_SIDE = ["--numprocesses=logical", "--maxprocesses=8", "--dist=loadgroup"]

#: For what takes longer than a test may: no stacks of what has not hung.
QUIET = ["-o", "faulthandler_timeout=0"]


def install(session: nox.Session, *groups: str, members: list[str] | None = None) -> None:
    """Install dependency groups, and some distributions or all of them, so that edits take effect at once."""
    requirements = nox.project.dependency_groups(PROJECT, *groups)
    core, *others = MEMBERS if members is None else members
    session.install(*requirements, "hatchling>=1.26", "editables", "-e", f"./{core}")
    if others:
        # An environment to build each of two dozen small packages in would take minutes.
        editable = [word for member in others for word in ("-e", f"./{member}")]
        session.install("--no-build-isolation", *editable)


@nox.session
def demo(session: nox.Session) -> None:
    """What corral does, in a minute."""
    session.install("./core", "./plugins/slurm")
    session.run("corral", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; with a real batch system where one answers."""
    install(session, "test")
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session
@nox.parametrize("name", PLUGINS, ids=PLUGINS)
def plugin(session: nox.Session, name: str) -> None:
    """One plugin's own tests, with nothing installed but it, the core and what its tests require of ours."""
    project = nox.project.load_toml(ROOT / "plugins" / name / "pyproject.toml")["project"]
    required = " ".join([*project["dependencies"], *project["optional-dependencies"]["test"]])
    others = [f"plugins/{other}" for other in PLUGINS if re.search(rf"\bcorral-{other}\b", required)]
    install(session, "test", members=["core", *others, f"plugins/{name}"])
    session.run("pytest", f"plugins/{name}", *session.posargs)


@nox.session
def real(session: nox.Session) -> None:
    """Tests on real batch systems alone; `-- --backend slurm` chooses one, `--batch-systems=install` brings it up."""
    install(session, "test")
    session.run("pytest", "-m", "real and not bench and not soak", *session.posargs, success_codes=[0, 5])


@nox.session(venv_backend="none")
def debian13(session: nox.Session) -> None:
    """Debian 13 with Python 3.13, OpenSSL 3.5, Slurm 24.11: all tests of the core, or `-- COMMAND` (root, Debian)."""
    command = session.posargs or ["env", "CORRAL_DEBIAN13_ALL=yes", "tests/batch-systems/debian13-tests.sh"]
    session.run("tests/batch-systems/debian13.sh", *command, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure, beside dask-jobqueue on the same Slurm, and write docs/benchmarks.md; `-- -k NAME` only measures."""
    install(session, "bench")
    # In the order in which the tables are read.
    options = ["-m", "bench", "-p", "no:randomly", "--timeout=1800", *QUIET, "--batch-systems=install"]
    session.run("pytest", *options, *session.posargs)


@nox.session
def symptoms(session: nox.Session) -> None:
    """Provoke on a real Slurm what docs/when-something-goes-wrong.md is about, and write there what users are told."""
    install(session, "test")
    options = ["--symptom-page=docs/when-something-goes-wrong.md", "--batch-systems=install"]
    session.run("pytest", "tests/real/test_real_symptoms.py", *options, *session.posargs)


@nox.session
def policy(session: nox.Session) -> None:
    """Compare scaling policies in simulated queues; writes the table and the pictures of docs/."""
    install(session, "test", members=["core"])
    output = [] if session.posargs else ["--output=docs/policy"]
    session.run("python", "-m", "corral.simulation", *output, *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Tests that take minutes to hours; half an hour of hurting a cluster on a real Slurm."""
    install(session, "test")
    env = {"CORRAL_SOAK_SECONDS": os.environ.get("CORRAL_SOAK_SECONDS", "1800")}
    session.run("pytest", "-m", "soak", "-s", *QUIET, *session.posargs, env=env)


@nox.session
def thorough(session: nox.Session) -> None:
    """The laws of all backends with twenty times as many examples: 10,000 hostile values for each."""
    install(session, "test")
    select = ["-k", "hostile or garbage or strange or every_failure or parse_reads or preparing"]
    session.run(
        "pytest", *select, "--timeout=7200", "--batch-systems=none", *session.posargs, env={"CORRAL_EXAMPLES": "500"}
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the order of the rooms; `-- --fix` mends what can be mended."""
    wanted = ("ruff", "import-linter")
    session.install(*(line for line in nox.project.dependency_groups(PROJECT, "lint") if line.startswith(wanted)))
    # First: ruff would complain of a wrong import as well. Imports are read, not run, so nothing of ours is installed.
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": ":".join(f"{member}/src" for member in MEMBERS)})
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]))


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    install(session, "lint")
    # Tests are in no package: what they import of ours must be known by its installed name.
    sources = [f"{member}/src" for member in MEMBERS] + [
        "tests/plugins",
        "tests/benchmarks",
        "docs/_ext",
        "core/tests/testing/harbour",
        "tests/outsiders/tsp/src",
    ]
    session.run("mypy", *session.posargs, env={"MYPYPATH": ":".join(sources)})


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in docs/_build; a warning is an error. A Chromium looks at its pages, if there is one."""
    install(session, "docs", "test")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build", *session.posargs)
    # Where a test may not be skipped, what it needs is installed.
    browsers = f"--batch-systems={'install' if os.environ.get('CI') else 'found'}"
    env = {"CORRAL_BUILT_DOCS": str(ROOT / "docs/_build")}
    session.run("pytest", "tests/test_built_documentation.py", browsers, *QUIET, env=env)


@nox.session
def dists(session: nox.Session) -> None:
    """Build all from their folders alone, in dist/, and try each by itself; `-- corral-slurm` tries only that one."""
    session.install("attrs", "hatchling>=1.26", "packaging", "twine>=6.1", "uv>=0.5")
    session.run("python", "tests/plugins/clean_installs.py", *session.posargs)


@nox.session
def recipes(session: nox.Session) -> None:
    """Recipes for conda-forge of what is in dist/, in dist/recipes/; `-- --maintainer NAME` says who has them."""
    session.install("attrs", "packaging", "py-rattler-build", "pyyaml")
    session.run("python", "tests/plugins/recipes.py", *session.posargs)


@nox.session(venv_backend="none")
def version(session: nox.Session) -> None:
    """Set the version of all distributions: `-- 0.2.0`."""
    [new] = session.posargs or session.error("Which one? nox -s version -- 0.2.0")
    if not (parts := re.fullmatch(r"(\d+\.\d+)\.\d+", new)):
        session.error(f"{new!r} is not a version such as 0.2.0")
    (ROOT / "core/src/corral/_version.py").write_text(f'__version__ = "{new}"\n')
    citation = ROOT / "CITATION.cff"
    citation.write_text(re.sub(r"^version: .*$", f"version: {new}", citation.read_text(), flags=re.MULTILINE))
    for member in MEMBERS[1:]:
        project = ROOT / member / "pyproject.toml"
        text = re.sub(r'^version = ".*"$', f'version = "{new}"', project.read_text(), count=1, flags=re.MULTILINE)
        # What imports inner names needs the same minor version.
        project.write_text(re.sub(r'("corral(?:-\w+)?~=)[\w.]+"', rf'\g<1>{parts[1]}.0"', text))


@nox.session
def changelog(session: nox.Session) -> None:
    """The next release's notes as they would be; `-- --yes` writes them to CHANGES.md and removes the fragments."""
    session.install("towncrier>=24.8", "./core")
    version = session.run("python", "-c", "import corral; print(corral.__version__)", silent=True)
    session.run("towncrier", "build", f"--version={str(version).strip()}", *(session.posargs or ["--draft"]))
