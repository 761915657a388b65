"""Tests marked ``@pytest.mark.real("slurm")`` run on the real Slurm, if there is one.

``--batch-systems=found`` (default) runs them where that batch system answers, and skips them elsewhere.
``--batch-systems=install`` brings up what does not answer, by ``tests/batch-systems/<name>-up.sh`` (root, Debian), and
down again at the end. ``--batch-systems=none`` skips them all. ``--backend=slurm`` runs nothing but its real tests.

``--batch-system-file=FILE`` says what their jobs need (`setups`). Before the first test, each batch system gets a
check-up (`checkup`): if it runs no job with those settings, its tests are skipped with what it said. Tests marked
``@pytest.mark.needs("gpus")`` are skipped where it has none.

Where CI is set, a test that a script could have made possible may not be skipped: it fails; after a bad check-up, the
first of them. Root may skip those on batch systems that run no jobs of root; and what a backend says in `Live.cannot`
of its batch system need not be tried.

The live laws of the backends are such tests, too: they need no ``--live`` here.

``@pytest.mark.real("slurm", having="accounting plugins")`` needs a Slurm with what ``CORRAL_SLURM_WITH`` names: see
``tests/batch-systems/slurm-up.sh``. Without that variable such a test is skipped, in CI too.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Generator, Iterable
from functools import cached_property
from pathlib import Path

import pytest
import setups
from attrs import evolve
from checkup import CheckUp, check_up

from corral.plugin import Job
from corral.testing import Live
from corral.testing.laws import live as live_laws

SCRIPTS = Path(__file__).parent.parent / "batch-systems"

#: A quick command for each batch system that succeeds when it answers, and that no other batch system has.
PROBES = {
    "chromium": ["chromedriver", "--version"],
    "flux": ["flux", "getattr", "size"],
    "htcondor": ["condor_status", "-schedd"],
    "lsf": ["lsid"],
    "moab": ["mdiag", "--version"],
    "mpi": ["mpiexec", "--version"],
    "oar": ["oarnodes", "-s"],
    "pbs": ["pbsnodes", "-a"],
    "sge": ["qhost"],
    "slurm": ["sinfo", "--noheader"],
    # Each test that needs one starts its own.
    "sshd": ["test", "-x", "/usr/sbin/sshd"],
    # Grid Engine's and PBS's commands have the same names.
    "torque": ["sh", "-c", "qstat --version 2>&1 | grep -i '^version: [0-9]'"],
    "tsp": ["tsp", "-V"],
}

#: Runs its jobs wherever there is Python.
EVERYWHERE = "local"

#: These are programs that tests use by themselves; all others run jobs.
PROGRAMS = {"chromium", "mpi", "sshd", "tsp"}

#: Brought up in seconds, these are brought up by each of the processes that run tests side by side: in one queue their
#: tests take half an hour. The first port of the second such process; each has twenty.
FOR_EACH = {"slurm": 18300}

#: These run no jobs of root.
NOT_FOR_ROOT = {"htcondor"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("batch systems")
    group.addoption(
        "--batch-systems",
        choices=["found", "install", "none"],
        default="found",
        help="real batch systems: use those that answer (default), bring up those that do not, or skip their tests",
    )
    group.addoption("--backend", metavar="NAME", help="run only the tests that need this real batch system")
    group.addoption(
        "--batch-system-file",
        metavar="FILE",
        help="what real batch systems need said: queue, account, options, interface, and what they lack "
        f"(YAML; or {setups.VARIABLE}; see tests/batch-systems/example.yaml)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.option.live = True
    if path := config.getoption("--batch-system-file"):
        os.environ[setups.VARIABLE] = str(Path(path).resolve())
    if path := os.environ.get(setups.VARIABLE):
        setups.read(path)
        if folder := setups.folder():
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)
    config.pluginmanager.register(BatchSystems(config), "corral-batch-systems")


class BatchSystems:
    """What is known of the real batch systems during one run of the tests."""

    def __init__(self, config: pytest.Config) -> None:
        self.mode: str = config.getoption("--batch-systems")
        self.only: str | None = config.getoption("--backend")
        #: Why each batch system that a test needs cannot be used; empty if it can.
        self.obstacles: dict[str, str] = {}
        #: Of those that answer.
        self.check_ups: dict[str, CheckUp] = {}
        #: Whose bad check-up has made a test fail.
        self.complained: set[str] = set()
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            backend = getattr(getattr(item, "cls", None), "backend", None)
            if backend != EVERYWHERE and live_laws.is_law(item):
                item.add_marker(pytest.mark.real(backend))
                # The first begins what all look at, and the last waits for a walltime.
                item.add_marker(pytest.mark.timeout(240))
        if self.only is not None:
            others = [item for item in items if self.only not in needs(item)]
            items[:] = [item for item in items if self.only in needs(item)]
            config.hook.pytest_deselected(items=others)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        # Around the test and its time-out, which installing a batch system would exceed. Of tests that run side by
        # side, only those that need it wait.
        for name in needs(item):
            if name not in self.obstacles:
                self.obstacles[name] = self._obstacle(name) or self._check_up(name)
        return (yield)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        for name in needs(item):
            if self.obstacles[name]:
                pytest.skip(self.obstacles[name])
            for ability in (word for marker in item.iter_markers("needs") for word in marker.args):
                if ability not in setups.ABILITIES:
                    raise pytest.UsageError(f"{item.nodeid} needs {ability!r}, which nobody knows")
                if reason := name not in PROGRAMS and self.check_ups[name].lacks.get(ability):
                    pytest.skip(f"{name} lacks {ability} ({setups.ABILITIES[ability]}): {reason}")
        if lacking := _lacking(item):
            pytest.skip(lacking)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        names = [name for name in needs(item) if name in self.check_ups]
        report.batch_systems = {name: self.check_ups[name].for_report() for name in names}  # type: ignore[attr-defined]
        if report.skipped and not hasattr(report, "wasxfail") and self._must_not_be_skipped(item):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            report.outcome = "failed"
            report.longrepr = reason.removeprefix("Skipped: ")
            if os.environ.get("CI"):
                report.longrepr += "\nIn CI this test must run: see --batch-systems=install."
        return report

    def _must_not_be_skipped(self, item: pytest.Item) -> bool:
        if live_laws.DECLARED in item.stash:
            return False
        needed = needs(item)
        if bad := [self.check_ups[name] for name in needed if name in self.check_ups and self.obstacles[name]]:
            # One failure says it for all.
            new = {found.setup.backend for found in bad} - self.complained
            is_to_fail = bool(os.environ.get("CI")) or any(found.is_our_fault for found in bad)
            self.complained |= new if is_to_fail else set()
            return is_to_fail and bool(new)
        is_possible = any(_script(name, "up") and not _refuses_us(name) for name in needed) and not _lacking(item)
        return bool(os.environ.get("CI")) and is_possible

    @pytest.hookimpl(optionalhook=True)
    def pytest_corral_live(self, laws: type, live: Live) -> Live | None:
        """What a file says of a batch system, for the live laws of its backend."""
        backend: str = getattr(laws, "backend", "")
        setup = setups.of(backend)
        if setup.is_own or backend not in self.check_ups:
            return None
        lacks = self.check_ups[backend].lacks
        wide = live.wide or live.job.resources
        arrays = {name: value for name, value in getattr(laws, "options", {}).items() if name == "arrays"}
        return evolve(
            live,
            job=setup.fit(live.job),
            wide=setup.fit(
                Job(
                    resources=evolve(
                        wide,
                        nodes=1 if "nodes" in lacks else wide.nodes,
                        cores=1 if "cores" in lacks else wide.cores,
                        gpus=0 if "gpus" in lacks else wide.gpus,
                    )
                )
            ).resources,
            options={**setup.job.get("backend_options", {}), **arrays},
            patience=max(setup.patience, live.patience),
            folder=setups.folder(),
        )

    @cached_property
    def _started(self) -> Path:
        """A file for each that this run brought up: whichever of its processes did that may end before the others."""
        factory: pytest.TempPathFactory = self._config._tmp_path_factory  # type: ignore[attr-defined]
        base = factory.getbasetemp()
        folder = (base.parent if self._is_worker else base) / "batch-systems"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def _is_worker(self) -> bool:
        return hasattr(self._config, "workerinput")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._is_worker:
            return
        for note in sorted(self._started.iterdir(), key=lambda note: note.stat().st_mtime, reverse=True):
            if script := _script(note.stem, "down"):
                environment = {**os.environ, **json.loads(note.read_text())}
                subprocess.run([script], check=True, stdout=subprocess.DEVNULL, env=environment)
            note.unlink()

    def _check_up(self, name: str) -> str:
        """Why it runs no jobs of these tests; empty, if it does."""
        if name in PROGRAMS:
            return ""
        found = self.check_ups[name] = check_up(name)
        return str(found) if found.obstacle else ""

    def _obstacle(self, name: str) -> str:
        if self.mode == "none":
            return f"{name}: --batch-systems=none"
        if _refuses_us(name):
            return f"{name}: it runs no jobs of root; run these tests as another user"
        obstacle = _unanswered(name)
        script = _script(name, "up")
        if self.mode == "found" or not obstacle or script is None:
            return obstacle
        place = _place(name, os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
        os.environ.update(place)
        (self._started / f"{name}.{os.getpid()}").write_text(json.dumps(place))
        up = subprocess.run([script], check=False, capture_output=True, text=True)
        if up.returncode != 0:
            return f"{script.name} failed with exit code {up.returncode}:\n{up.stderr.strip()}"
        os.environ.update(_exports(up.stdout))
        return _unanswered(name)


def _refuses_us(name: str) -> bool:
    return name in NOT_FOR_ROOT and os.geteuid() == 0


def needs(item: pytest.Item) -> list[str]:
    """The real batch systems and programs without which this test cannot run."""
    return [name for marker in item.iter_markers("real") for name in marker.args]


def is_of_each(config: pytest.Config, name: str) -> bool:
    """Whether each process that runs tests has this batch system for itself; before any test has run."""
    is_brought_up = config.getoption("--batch-systems") == "install"
    return is_brought_up and name in FOR_EACH and _variable(name, "TOP") not in os.environ and bool(_unanswered(name))


def _place(name: str, worker: str) -> dict[str, str]:
    """The variables that tell the scripts where the batch system of such a process is."""
    number = int(worker.removeprefix("gw"))
    if name not in FOR_EACH or number == 0 or _variable(name, "TOP") in os.environ:
        return {}
    top, port = f"/var/lib/corral-{name}-{worker}", FOR_EACH[name] + 20 * (number - 1)
    return {_variable(name, "TOP"): top, _variable(name, "PORT"): str(port)}


def _variable(name: str, word: str) -> str:
    return f"CORRAL_{name.upper()}_{word}"


def _lacking(item: pytest.Item) -> str:
    """What a batch system was not brought up with, though this test needs it; empty if it was."""
    for marker in item.iter_markers("real"):
        for name in marker.args:
            variable = _variable(name, "WITH")
            has = os.environ.get(variable, "").split()
            lacking = [word for word in str(marker.kwargs.get("having", "")).split() if word not in has]
            if lacking:
                return f"{name}: brought up without {', '.join(lacking)}: see {variable} in {name}-up.sh"
    return ""


def _script(name: str, direction: str) -> Path | None:
    script = SCRIPTS / f"{name}-{direction}.sh"
    return script if script.exists() else None


def _unanswered(name: str) -> str:
    """Why this batch system cannot be used; empty if it answers."""
    if (probe := PROBES.get(name)) is None:
        return f"{name}: nobody said by which command one sees whether it answers"
    if shutil.which(probe[0]) is None:
        return f"{name}: there is no {probe[0]} on PATH"
    try:
        done = subprocess.run(probe, check=False, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return f"{name}: no answer from {shlex.join(probe)} within 20 s"
    if done.returncode != 0:
        return f"{name}: {shlex.join(probe)} failed: {(done.stderr or done.stdout).strip()}"
    return ""


def _exports(text: str) -> Iterable[tuple[str, str]]:
    """The variables in ``export NAME=value`` lines, as a shell would read them."""
    for line in text.splitlines():
        words = shlex.split(line)
        if words[:1] == ["export"]:
            yield from (word.split("=", 1) for word in words[1:])  # type: ignore[misc]
