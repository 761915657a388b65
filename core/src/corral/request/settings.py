"""What Dask's configuration says under ``corral:``.

Every argument of `Cluster` and of `WorkerGroup` can be set there, with dashes or underscores, for all backends or for
one; and a few settings of the whole process::

    corral:
      shared-directory: /scratch/me
      commands-per-minute: 5
      backends:
        slurm:
          queue: batch
          memory: 16GB

An argument in the program overrides ``corral.backends.NAME``, which overrides ``corral``, which overrides what the
cluster's site has for everybody (`corral.request.sites`).
"""

from __future__ import annotations

import datetime
import os
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.config
from attrs import field, fields, frozen

from corral.errors import InvalidRequest
from corral.request.quantities import parse_count, parse_duration
from corral.request.synonyms import meaning, translated
from corral.text.variables import expanded, expanded_path


def _commands_per_minute(value: int) -> int:
    try:
        return parse_count("commands_per_minute", value, at_least=1)
    except InvalidRequest:
        raise InvalidRequest("commands_per_minute", f"{value!r} is not a number above 0") from None


def _command_timeout(value: float | str | datetime.timedelta) -> float:
    return parse_duration("command_timeout", value, least=1.0)


def _polling_interval(value: float | str | datetime.timedelta) -> float:
    return parse_duration("polling_interval", value, least=1.0)


def _remember_waits(value: bool) -> bool:
    return _truth("remember_waits", value)


def _journal(value: bool) -> bool:
    return _truth("journal", value)


def _truth(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(name, f"{value!r} is neither true nor false")
    return value


def _replacements_per_hour(value: int | None) -> int | None:
    return None if value is None else parse_count("replacements_per_hour", value)


def _ssh(value: str | Sequence[str]) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(value) if isinstance(value, str) else value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest("ssh", f"{value!r} cannot be split into words: {error}") from None
    if not words or not all(isinstance(word, str) and word for word in words):
        raise InvalidRequest("ssh", f"{value!r} is not a command, like 'ssh -F ~/.ssh/centre'")
    return tuple(os.path.expanduser(word) for word in words)


@frozen(kw_only=True)
class Settings:
    """Settings that are not arguments of a cluster.

    Parameters
    ----------
    commands_per_minute
        How many commands corral may run in a minute for one user on one host, across all clusters and processes.
        Queries wait for room, two fifths are reserved for them, and one serves all clusters; submissions and
        cancellations just count. Default: 10.
    command_timeout
        How long a command of the batch system may take. Default: ``"60s"``.
    polling_interval
        How often jobs are polled when nothing changes; once all are connected, every ten minutes. Default: ``"60s"``.
    replacements_per_hour
        How many jobs of a group may be replaced in an hour. Default: as many as are wanted, but at least 3.
    remember_waits
        Whether clusters remember for one another how long jobs have waited, in your state directory: `corral waits`
        shows it. If not, nothing of it is read either. Default: true.
    journal
        Whether a cluster writes down what becomes of its jobs, in your state directory, for `corral report`. Default:
        true.
    ssh
        How OpenSSH's client is called for ``via=``, with options of its own, as in ``"ssh -F ~/.ssh/centre"``. Default:
        ``"ssh"``.
    """

    commands_per_minute: int = field(default=10, converter=_commands_per_minute)
    command_timeout: float = field(default=60.0, converter=_command_timeout)
    polling_interval: float = field(default=60.0, converter=_polling_interval)
    replacements_per_hour: int | None = field(default=None, converter=_replacements_per_hour)
    remember_waits: bool = field(default=True, converter=_remember_waits)
    journal: bool = field(default=True, converter=_journal)
    ssh: tuple[str, ...] = field(default=("ssh",), converter=_ssh)


#: Arguments in the words of one batch system, which mean nothing to another.
OF_ONE_BACKEND = ("queue", "account", "extra_directives", "skip_directives", "backend_options")

_PATHS = ("log_directory", "shared_directory")
#: In these, ``$NAME`` is a variable of the host that reads the configuration.
_OF_THIS_HOST = (*_PATHS, "account", "queue")

#: Keys that hold further keys.
_SECTIONS = ("backends", "sites")


def settings(defaults: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process.

    Parameters
    ----------
    defaults
        Of the cluster's site; only those are looked at that are settings.

    Raises
    ------
    InvalidRequest
        Names the key, and the file or variable that it stands in.
    """
    names = [attribute.name for attribute in fields(Settings)]
    everything = {**(defaults or {}), **_section("corral")}
    found = {name: value for name, value in everything.items() if name in names}
    try:
        return Settings(**found)
    except InvalidRequest as error:
        raise located(error, "") from None


def arguments(
    backend: str, known: Sequence[str], *, heeds_jobqueue: bool = False, is_here: bool = True
) -> dict[str, Any]:
    """Arguments of `Cluster` that the configuration gives for this backend; keys that nobody knows are told.

    Parameters
    ----------
    known
        Names of all arguments.
    heeds_jobqueue
        True: whoever asks has read a section ``jobqueue:`` as well, and nobody need be told that it says nothing here.
    is_here
        False: folders are another host's, and stay as they are written.
    """
    general = _section("corral")
    special = _section(f"corral.backends.{backend}") if backend else {}
    own = {attribute.name for attribute in fields(Settings)}
    for section, found, allowed in (
        ("corral", general, {*known, *own, *_SECTIONS}),
        (f"corral.backends.{backend}", special, set(known)),
    ):
        for name in found:
            if name not in allowed:
                warnings.warn(
                    f"the configuration has an unknown key {section}.{name}{origin(section, name)}."
                    f"{meaning(name, allowed)}",
                    stacklevel=4,
                )
    if backend and not special and not heeds_jobqueue:
        _tell_of_jobqueue(backend, known)
    merged = {**general, **special}
    try:
        return {
            name: value if name in _PATHS and not is_here else meant_here(name, value)
            for name, value in merged.items()
            if name in known and value is not None
        }
    except InvalidRequest as error:
        raise located(error, backend) from None


def arguments_of_another(backend: str, known: Sequence[str]) -> dict[str, Any]:
    """The same for groups whose batch system is not the cluster's.

    What the configuration says for all backends is taken to be meant for the cluster's, if it is in its words: a group
    of another has them from that one's section alone.
    """
    own = _section(f"corral.backends.{backend}")
    found = arguments(backend, known)
    return {name: value for name, value in found.items() if name in own or name not in OF_ONE_BACKEND}


def options_of_another(backend: str) -> Mapping[str, Any]:
    """Options of the plugin of such a group."""
    return _section(f"corral.backends.{backend}").get("backend_options") or {}


def elsewhere(configuration: Mapping[str, Any], *, is_here: bool = True) -> dict[str, Any]:
    """The configuration for a process on another host: what means this host's variables is said in full.

    Parameters
    ----------
    is_here
        As for `arguments`: what it says of folders is left out, for the other process is told them otherwise.

    Raises
    ------
    InvalidRequest
    """

    def section(found: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: meant_here(name, value)
            for key, value in found.items()
            # Which variables those were is in the groups by now. And over there it is not carried any further.
            if (name := str(key).replace("-", "_")) not in ("inherit_env", "via") and (is_here or name not in _PATHS)
        }

    mine = configuration.get("corral")
    if not isinstance(mine, Mapping):
        return dict(configuration)
    said = section(mine)
    if isinstance(backends := mine.get("backends"), Mapping):
        said["backends"] = {
            name: section(found) if isinstance(found, Mapping) else found for name, found in backends.items()
        }
    return {**configuration, "corral": said}


def meant_here(name: str, value: Any, there: Mapping[str, str] | None = None) -> Any:
    """A value of the configuration, in which ``$NAME`` may stand for a variable of this host, or of one over there."""
    if not isinstance(value, str) or name not in _OF_THIS_HOST:
        return value
    try:
        if there is not None:
            return expanded(value, there)
        return (expanded_path if name in _PATHS else expanded)(value, os.environ)
    except ValueError as error:
        raise InvalidRequest(name, str(error)) from None


def _tell_of_jobqueue(backend: str, known: Sequence[str]) -> None:
    """A section that somebody wrote for dask-jobqueue says the same in other words, and nobody reads it here."""
    section = {key: value for key, value in _jobqueue(dask.config.config, backend).items() if value is not None}
    if not section:
        return
    variables = {name: each for name, each in os.environ.items() if name.startswith("DASK_JOBQUEUE__")}
    written = _jobqueue(dask.config.collect(dask.config.paths, variables), backend)
    for defaults in dask.config.defaults:
        # What dask-jobqueue or corral-jobqueue itself puts there, if it was imported, is nobody's wish. What somebody
        # has written is one, though it be the same.
        usual = {key: value for key, value in _jobqueue(defaults, backend).items() if key not in written}
        section = {key: value for key, value in section.items() if key not in usual or usual[key] != value}
    ours, left = translated(section, known)
    if not ours and not left:
        return
    import yaml  # type: ignore[import-untyped]

    lines = yaml.safe_dump({"corral": {"backends": {backend: ours}}}, sort_keys=False).rstrip()
    rest = "".join(f"\n  {key}: {said}" for key, said in left.items())
    rest = f"\nThese have no plain translation:{rest}" if left else ""
    where = [str(path) for path, content in _files() if _jobqueue(content, backend)]
    where += [name for name in sorted(os.environ) if name.startswith(f"DASK_JOBQUEUE__{backend.upper()}__")]
    warnings.warn(
        f"{' and '.join(where) or 'this program'} has a section jobqueue.{backend}, which is dask-jobqueue's and is "
        f"not read here. In corral's words, for a file like corral.yaml beside it:\n{lines}{rest}",
        stacklevel=5,
    )


def _jobqueue(configuration: Mapping[str, Any], backend: str) -> dict[str, Any]:
    """The section of dask-jobqueue's for one batch system, with dashes."""
    sections = configuration.get("jobqueue")
    section = sections.get(backend) if isinstance(sections, Mapping) else None
    return {str(key).replace("_", "-"): each for key, each in section.items()} if isinstance(section, Mapping) else {}


def value(name: str, backend: str | None, *, default: Any = None) -> Any:
    """What the configuration says of one argument, before everything else about a cluster is known."""
    special = _section(f"corral.backends.{backend}") if backend else {}
    return {**_section("corral"), **special}.get(name, default)


def located(error: InvalidRequest, backend: str) -> InvalidRequest:
    """The same refusal, saying where the configuration has the value, if it does not say that yet."""
    if "(corral." in error.problem:
        return error
    for section in (*([f"corral.backends.{backend}"] if backend else []), "corral"):
        if error.argument in _section(section):
            where = origin(section, error.argument)
            return InvalidRequest(
                error.argument, f"{error.problem} ({section}.{error.argument.replace('_', '-')}{where})"
            )
    return error


def ways() -> list[str]:
    """The keys by which the configuration says where commands are carried."""
    sections = ["corral", *(f"corral.backends.{name}" for name in _section("corral.backends"))]
    return [f"{section}.via" for section in sections if "via" in _section(section)]


def _section(path: str) -> dict[str, Any]:
    found = dask.config.get(path, default=None) or {}
    if not isinstance(found, Mapping):
        raise InvalidRequest(path, f"{found!r} in the configuration is not a section with keys")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def file_of(name: str, backend: str) -> Path | None:
    """The file that says this argument; None if a variable or the program does, or nobody."""
    section = next((each for each in (f"corral.backends.{backend}", "corral") if name in _section(each)), "")
    return _file(section, name) if section and _variable(section, name) not in os.environ else None


def origin(section: str, name: str) -> str:
    """`` in ~/.config/dask/corral.yaml``, or the variable; empty if it was set in the program."""
    if (variable := _variable(section, name)) in os.environ:
        return f" in the variable {variable}"
    path = _file(section, name)
    return "" if path is None else f" in {path}"


def _variable(section: str, name: str) -> str:
    return "DASK_" + "__".join([*section.upper().split("."), name.upper()])


def _file(section: str, name: str) -> Path | None:
    """The last that says it."""
    path: Path
    found: Path | None = None
    for path, content in _files():
        here: Any = content
        for part in section.split("."):
            here = here.get(part) if isinstance(here, Mapping) else None
        if isinstance(here, Mapping) and name in {str(key).replace("-", "_") for key in here}:
            found = path
    return found


def _files() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for path, content in dask.config.collect_yaml(dask.config.paths, return_paths=True):
        if isinstance(content, Mapping):
            yield Path(path), content
