"""Arguments of dask-jobqueue's classes in corral's words, also those whose values only the program knows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from corral.migration.jobqueue.translation import Translation, translate
from corral.migration.jobqueue.words import JOB_NAME, KINDS, Kind
from corral.migration.values import Source
from corral.migration.writing import expression
from corral.request.quantities import usual_processes
from corral.request.synonyms import MEANINGS, RENAMED

CLASSES: Mapping[str, str] = {name: kind.backend for name, kind in KINDS.items()}
#: dask-jobqueue's only class that is no cluster.
RUNNER = "SLURMRunner"
#: What that takes and `Ranks` has under the same name.
_OF_RANKS = ("scheduler_file", "worker_options")
_OPTIONS_OF_RANKS = {
    "dashboard_address": "dashboard_address", "protocol": "protocol", "port": "scheduler_port",
    "interface": "interface", "dashboard": "dashboard",
}  # fmt: skip

#: What is handed on whatever its value is, under its own name or another one.
_HANDED_ON = (
    "account", "asynchronous", "death_timeout", "interface", "local_directory", "log_directory", "loop", "mem",
    "memory", "n_workers", "name", "job_name", "processes", "project", "python", "queue", "scheduler_options",
    "security", "shared_temp_directory", "shebang", "silence_logs", "walltime",
)  # fmt: skip


#: What is said of every cluster, in dask-jobqueue's words; and in ours.
_OF_ALL = r"connections are TLS|the dashboard listens on loopback|jobs get of your environment"
OF_ALL = (
    "connections are TLS (security=False: plain TCP), the dashboard listens on loopback (cluster.dashboard_link finds "
    "it), and jobs get of your environment only what env= and inherit_env= name"
)
_WORD = re.compile(rf"(?<=[\s(])({'|'.join(RENAMED)})=")


@frozen
class Words:
    """A call in corral's words."""

    #: Of `Cluster`, without the backend.
    arguments: Mapping[str, Any]
    changed: Sequence[str] = ()
    lost: Sequence[str] = ()


def in_our_words(
    class_name: str, given: Mapping[str, Any], *, beside: Collection[str] = (), is_configuration: bool = False
) -> Words:
    """What the arguments of one of dask-jobqueue's classes are here.

    Parameters
    ----------
    given
        Values are as Python has them, or a `Source`, which is moved but not looked at.
    beside
        Names of further arguments of the same call, which are translated by themselves.
    is_configuration
        They are keys of a section for this class, in the configuration.
    """
    if class_name == RUNNER:
        return _of_ranks(given)
    # Of these, each value is looked at by itself.
    known = {
        name: value
        for name, value in given.items()
        if not _is_open(value) or (name == "scheduler_options" and isinstance(value, Mapping))
    }
    found = translate(class_name, {}, known) if is_configuration else translate(class_name, known)
    opened = _Opened(class_name, found, given, beside)
    opened.take_back_what_nobody_said(is_configuration=is_configuration)
    for name, value in given.items():
        if name not in known and name != "config_name":
            opened.add(name, value)
    return Words(opened.arguments, _in_order(opened.changed), _in_order(opened.lost))


def _in_order(sentences: Sequence[str]) -> list[str]:
    """Sentences for somebody who will write corral's words, and not dask-jobqueue's."""
    told = [each for each in sentences if not re.match(_OF_ALL, each)]
    if len(told) < len(sentences):
        told.append(OF_ALL)
    return [_WORD.sub(lambda match: f"{RENAMED[match[1]]}=", each) for each in told]


def _is_open(value: Any) -> bool:
    """True if some of it is known to the program alone."""
    if isinstance(value, Mapping):
        return any(map(_is_open, value.values()))
    return isinstance(value, Source) or (isinstance(value, list | tuple) and any(map(_is_open, value)))


def _with(before: str, value: Any, after: str = "") -> Source:
    """A text around a value that is open."""
    source = expression(value)
    if re.search(r"[\"\\\n{}]", source + before + after):
        end = f" + {expression(after)}" if after else ""
        return Source(f"{expression(before)} + str({source}){end}")
    return Source(f'f"{before}{{{source}}}{after}"')


def _of_ranks(given: Mapping[str, Any]) -> Words:
    arguments = {name: value for name, value in given.items() if name in _OF_RANKS}
    lost, changed = [], []
    for name, value in given.items():
        if name == "scheduler_file" and "{job_id}" in expression(value):
            # Ranks know no such word; what finds a file by it is the tasks themselves.
            del arguments[name]
            changed.append(f"{name}= is left out: the tasks find each other by a private file")
        elif name == "scheduler_options" and isinstance(value, Mapping):
            arguments |= {_OPTIONS_OF_RANKS[key]: each for key, each in value.items() if key in _OPTIONS_OF_RANKS}
            left = [key for key in value if key not in _OPTIONS_OF_RANKS]
            lost += [f"{name}= has {key!r}, which Ranks cannot be told; leave it out" for key in left]
        elif name not in _OF_RANKS:
            lost.append(f"{name}= is not an argument of Ranks; help(corral.allocation.ranks.Ranks) has them")
    return Words(arguments, changed, lost)


@define
class _Opened:
    """A translation to which open values are added."""

    class_name: str
    found: Translation
    given: Mapping[str, Any]
    beside: Collection[str]
    arguments: dict[str, Any] = field(init=False)
    changed: list[str] = field(init=False)
    lost: list[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.arguments = dict(self.found.arguments)
        self.changed = list(self.found.changed)
        self.lost = list(self.found.lost)

    @property
    def _kind(self) -> Kind:
        return KINDS[self.class_name]

    def take_back_what_nobody_said(self, *, is_configuration: bool) -> None:
        """Leave out what dask-jobqueue fills in where corral need not have it, or a configuration may say another."""
        if not {"name", "job_name"} & self.given.keys() or (is_configuration and self.arguments["name"] == JOB_NAME):
            self.arguments.pop("name", None)
        self.lost = [each for each in self.lost if not re.match(r"(cores|memory)( and memory)?: say", each)]
        if self.given.get("config_name") is not None:
            self.lost.append(f"config_name={expression(self.given['config_name'])}: {MEANINGS['config_name']}")
        everything = {*self.given, *self.beside}
        pairs = (("cores", "ncpus"), ("memory", "mem"))
        unsaid = [word for word, other in pairs if not {word, other} & everything]
        # Where the cores are, there is the rest that belongs to them.
        is_elsewhere = bool(unsaid) or not {"cores", "ncpus"} & self.given.keys()
        if (
            self._kind.walltime is not None
            and "walltime" not in self.given
            and (is_elsewhere or "walltime" in self.beside)
        ):
            self.arguments.pop("walltime", None)
        if "processes" in self.beside or self._has_usual_processes():
            self.arguments.pop("processes", None)
        if unsaid and not is_configuration:
            self.changed.append(
                f"{' and '.join(unsaid)} must come from the configuration, in corral's words: corral migrate "
                "~/.config/dask/jobqueue.yaml"
            )

    def _has_usual_processes(self) -> bool:
        """True if corral would come to the same number without being told."""
        cores, gpus, threads = (self.arguments.get(name) for name in ("cores", "gpus", "threads"))
        # How many cores the batch system is asked for may yet be added.
        is_open = any(_is_open(self.given.get(name)) for name in ("job_cpu", "ncpus"))
        if self.given.get("processes") is not None or is_open or not isinstance(cores, int):
            return False
        return bool(self.arguments.get("processes") == usual_processes(cores, gpus or 0, threads))

    def add(self, name: str, value: Any) -> None:
        """One argument whose value is open."""
        given, name, source = name, self._kind.deprecated.get(name, name), expression(value)
        if self._kind.backend == "local" and name in ("queue", "account", "project", "resource_spec"):
            self.changed.append(f"{given}={source} is left out: this host has none")
        elif name in ("job_extra_directives", "job_script_prologue", "job_script_epilogue"):
            self._add_lines(given, name, value)
        elif name == "resource_spec":
            walltime = f",walltime={self.arguments.get('walltime', '')}" if self._kind.backend == "oar" else ""
            self._extend("extra_directives", [_with("-l ", value, walltime)])
        elif name == "job_mem":
            self._extend("extra_directives", [_with("--mem=", value)])
        elif name in ("cores", "job_cpu", "ncpus"):
            asked = self.given.get("job_cpu") or self.given.get("ncpus")
            if name == "cores" and "processes" not in {*self.given, *self.beside}:
                self.changed.append(
                    f"cores={source}: two or three have one worker here, and had one each; processes= says how many"
                )
            if asked and "cores" in self.given:
                self.arguments["threads"] = self._threads()
            self.arguments["cores"] = asked or value
        elif name == "memory" and self.given.get("mem"):
            self.changed.append(f"memory={source} is not heeded: mem= is what a job has, and what its workers share")
        elif name == "disk":
            self._backend_options(disk=value)
        elif name == "memory_per_core_property_name":
            self._backend_options(memory_property=value, memory_of="core")
        elif name in _HANDED_ON:
            self.arguments[RENAMED.get(name, name) if name != "mem" else "memory"] = value
            if name == "walltime" and self._kind.backend in ("lsf", "oar"):
                self.changed.append(f"walltime={source}: two numbers are minutes and seconds here; write all three")
        else:
            self.lost.append(f"{given}={source}: {MEANINGS.get(name, 'corral has no such argument; leave it out')}")

    def _add_lines(self, given: str, name: str, value: Any) -> None:
        target = RENAMED[name]
        if isinstance(value, Mapping):
            self._extend(
                target,
                [_with(f"{key} = ", each) if _is_open(each) else f"{key} = {each}" for key, each in value.items()],
            )
        elif not isinstance(value, Source):
            self._extend(target, value)
        elif self._kind.backend == "htcondor" and target == "extra_directives":
            self.lost.append(f"{given}={value}: it is a list here, extra_directives=['+Flavour = long'], not a mapping")
        elif target in self.arguments:
            self._extend(target, [Source(f"*{value}")])
        else:
            self.arguments[target] = value

    def _extend(self, target: str, values: Sequence[Any]) -> None:
        present = self.arguments.get(target, [])
        present = [Source(f"*{present}")] if isinstance(present, Source) else list(present)
        self.arguments[target] = [*present, *values]

    def _backend_options(self, **more: Any) -> None:
        self.arguments["backend_options"] = {**self.arguments.get("backend_options", {}), **more}

    def _threads(self) -> int | Source:
        cores, processes = self.given["cores"], self.given.get("processes") or self.arguments.get("processes") or 1
        if isinstance(cores, int) and isinstance(processes, int):
            return max(1, cores // processes)
        return Source(f"{expression(cores)} // {expression(processes)}" if processes != 1 else expression(cores))
