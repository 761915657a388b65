"""What each real batch system needs said, and what it lacks: read once, from one file, for all tests.

The file is the one that ``--batch-system-file`` or CORRAL_TEST_SYSTEMS names; for batch systems that are not in it,
``tests/batch-systems/own.yaml``, which describes those that the project itself starts. Programs that tests start read
it too, by the variable.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml  # type: ignore[import-untyped]
from attrs import evolve, field, frozen

from corral.plugin import Job, discovery
from corral.text.durations import seconds_in
from corral.text.sizes import bytes_in, size_in_words

VARIABLE = "CORRAL_TEST_SYSTEMS"
OWN = Path(__file__).parent.parent / "batch-systems" / "own.yaml"

#: What a test may need besides a batch system that runs jobs: ``@pytest.mark.needs("gpus")``.
ABILITIES = {
    "arrays": "several jobs in one submission",
    "cores": "jobs of several cores on one node",
    "gpus": "GPUs",
    "nodes": "jobs of several nodes",
    "accounting": "what the batch system remembers of jobs that have ended long ago",
    "root": "root on this host: as another user, a test tries what that user must not be able to do",
    "here": "jobs that run on this host, where a test looks at their processes and kills them",
    "control": "leave to change the batch system itself: its queues, its nodes, its daemons",
    "testbed": "the very queues and nodes that tests/batch-systems makes",
}

#: The memory of a job if neither its test nor the file says more.
USUAL_MEMORY = "400MB"

_KEYS = {"job", "smallest", "largest", "patience", "lacks"}
_JOB_KEYS = {
    "queue", "account", "interface", "walltime", "backend-options", "extra-directives", "skip-directives", "prologue",
    "env",
}  # fmt: skip


def _count(value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"{value!r} is no number of cores, nodes or jobs")
    return value


def _amount(value: float | str | None) -> int | None:
    return None if value is None else bytes_in(value)


@frozen(kw_only=True)
class Size:
    """How small or how large something may be; None: nobody said."""

    cores: int | None = field(default=None, converter=_count)
    #: Of a node's share of the job, in bytes.
    memory: int | None = field(default=None, converter=_amount)
    nodes: int | None = field(default=None, converter=_count)
    #: Of one cluster, at once.
    jobs: int | None = field(default=None, converter=_count)


@frozen(kw_only=True)
class Setup:
    """One real batch system, as tests must use it."""

    backend: str
    #: Arguments of `Cluster` that every job needs.
    job: Mapping[str, Any] = field(factory=dict)
    #: The smallest job that may be submitted, and the largest that may be asked for.
    smallest: Size = Size()
    largest: Size = Size()
    #: Seconds in which a job that was submitted starts and its workers connect.
    patience: float = 90.0
    #: Why there is none of these `ABILITIES`.
    lacks: Mapping[str, str] = field(factory=dict)
    #: The file that says so.
    source: str = ""

    @property
    def where(self) -> str:
        """The file that says so, as short as may be."""
        path = Path(self.source)
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

    @property
    def is_own(self) -> bool:
        """Whether it is described by the project's own file: it is one that the project starts, or is taken for it."""
        return self.source == str(OWN)

    def arguments(self, **asked: Any) -> dict[str, Any]:
        """Arguments of a `Cluster` of small jobs, and what its test asks for; skips the test if that is too much."""
        self.allows(**{name: asked.get(name) for name in ("cores", "memory", "nodes")})
        usual = {"cores": 1, "memory": USUAL_MEMORY, "walltime": "00:10:00"}
        given = {"backend": self.backend, **usual, **self.job, **asked}
        if _below(given["cores"], self.smallest.cores):
            # As many workers as the test expects.
            given |= {"cores": self.smallest.cores, "processes": asked.get("processes", 1)}
        if _below(given["memory"], self.smallest.memory):
            given["memory"] = self.smallest.memory
        for name in ("extra_directives", "prologue"):
            if said := [*self.job.get(name, ()), *asked.get(name, ())]:
                given[name] = said
        for name in ("backend_options", "env"):
            if merged := {**self.job.get(name, {}), **asked.get(name, {})}:
                given[name] = merged
        return given

    def words(self, **asked: Any) -> list[str]:
        """The same as options of the command line."""
        words = []
        for name, value in self.arguments(**asked).items():
            word = f"--{name.replace('_', '-')}"
            if isinstance(value, Mapping):
                words += [f"{word.removesuffix('s')}={key}={text}" for key, text in value.items()]
            elif isinstance(value, Sequence) and not isinstance(value, str):
                words += [f"{word}={text}" for text in value]
            else:
                words.append(f"{word}={value}")
        return words

    def plugin(self, **options: Any) -> Any:
        """The backend itself, with the options that are needed here."""
        [installed] = [each for each in discovery.usable("backend") if each.name == self.backend]
        return installed.make({**self.job.get("backend_options", {}), **options})

    def fit(self, job: Job) -> Job:
        """A plugin's job with what every job needs here; skips the test if the job is too large."""
        self.allows(cores=job.resources.cores, memory=job.resources.memory, nodes=job.resources.nodes)
        memory = job.resources.memory
        if self.smallest.memory is not None:
            memory = max(memory or 0, self.smallest.memory)
        cores = max(job.resources.cores, self.smallest.cores or 1)
        walltime = job.walltime
        if walltime is not None and "walltime" in self.job:
            walltime = min(walltime, round(seconds_in(self.job["walltime"])))
        return evolve(
            job,
            resources=evolve(job.resources, cores=cores, memory=memory),
            walltime=walltime,
            queue=job.queue or self.job.get("queue"),
            account=job.account or self.job.get("account"),
            extra_directives=[*self.job.get("extra_directives", ()), *job.extra_directives],
            prologue=[*self.job.get("prologue", ()), *job.prologue],
            environment={**self.job.get("env", {}), **job.environment},
            skip=job.skip | set(self.job.get("skip_directives", ())),
        )

    def allows(self, **asked: Any) -> None:
        """Skip the test if it asks for more than the largest job may have, or for more jobs."""
        for name, value in asked.items():
            most = getattr(self.largest, name)
            if most is not None and _below(most, value):
                said = size_in_words(most) if name == "memory" else most
                why = f"{self.backend}: the test asks for {name}={value}, and {self.where} allows {said}"
                pytest.skip(why, allow_module_level=True)


def _below(value: object, least: object) -> bool:
    """Whether a number or an amount of memory is less than another. What is neither, corral may refuse."""
    with suppress(ValueError):
        pair = [bytes_in(each) for each in (value, least) if isinstance(each, int | str)]
        return len(pair) == 2 and 0 < pair[0] < pair[1]
    return False


def of(backend: str) -> Setup:
    """What is said of a batch system; nothing, if nobody has."""
    named = os.environ.get(VARIABLE)
    for path in filter(None, (named, str(OWN))):
        if found := read(path).get(backend):
            return found
    return Setup(backend=backend, source=named or str(OWN))


def of_plugin(plugin: object) -> Setup:
    """What is said of the batch system that a backend's object talks to."""
    factory = f"{type(plugin).__module__}:{type(plugin).__qualname__}"
    names = [each.name for each in discovery.usable("backend") if each.value == factory]
    return of(names[0]) if names else Setup(backend=type(plugin).__name__)


def folder() -> str | None:
    """Where tests put what jobs must see, if the file says so."""
    named = os.environ.get(VARIABLE)
    return _contents(named).get("folder") if named else None


@functools.cache
def read(path: str) -> Mapping[str, Setup]:
    """All that a file says of batch systems.

    Raises
    ------
    pytest.UsageError
        The file cannot be read, or says what nobody understands.
    """
    contents = _contents(path)
    return {name: _setup(path, name, said) for name, said in contents.items() if name != "folder"}


@functools.cache
def _contents(path: str) -> Mapping[str, Any]:
    try:
        contents = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise pytest.UsageError(f"{path} cannot be read: {error}") from None
    if not isinstance(contents, dict):
        _refuse(path, "it must be a table with one entry for each batch system")
    return contents


def _setup(path: str, name: str, said: object) -> Setup:
    known = {plugin.name for plugin in discovery.installed() if plugin.kind == "backend"}
    if name not in known:
        _refuse(path, f"{name!r} is no backend that is installed here: {', '.join(sorted(known))}")
    table = _table(path, name, said, _KEYS)
    job = _table(path, f"{name}: job", table.get("job"), _JOB_KEYS)
    lacks = _table(path, f"{name}: lacks", table.get("lacks"), ABILITIES)
    for ability, reason in lacks.items():
        if not isinstance(reason, str) or not reason.strip():
            _refuse(path, f"{name}: lacks: {ability}: say why, in words")
    try:
        return Setup(
            backend=name,
            job=dict(_as_arguments(path, name, job)),
            smallest=Size(**_table(path, f"{name}: smallest", table.get("smallest"), {"cores", "memory"})),
            largest=Size(
                **_table(path, f"{name}: largest", table.get("largest"), {"cores", "memory", "nodes", "jobs"})
            ),
            patience=seconds_in(table.get("patience", 90)),
            lacks=lacks,
            source=path,
        )
    except (TypeError, ValueError) as error:
        _refuse(path, f"{name}: {error}")


def _as_arguments(path: str, name: str, job: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in job.items():
        if key in ("backend-options", "env"):
            _table(path, f"{name}: job: {key}", value)
        elif key in ("extra-directives", "prologue", "skip-directives"):
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                _refuse(path, f"{name}: job: {key} must be a list of texts")
        elif not isinstance(value, str) and key != "walltime":
            _refuse(path, f"{name}: job: {key} must be a text")
        is_options = key == "backend-options"
        yield _python(key), {_python(word): each for word, each in value.items()} if is_options else value


def _python(word: str) -> str:
    return word.replace("-", "_")


def _table(path: str, where: str, value: object, known: object = None) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        _refuse(path, f"{where} must be a table")
    for key in value:
        if known is not None and key not in known:  # type: ignore[operator]
            _refuse(path, f"{where}: nobody knows {key!r}: {', '.join(sorted(known))}")  # type: ignore[call-overload]
    return value


def _refuse(path: str, words: str) -> NoReturn:
    raise pytest.UsageError(f"{path}: {words}")
