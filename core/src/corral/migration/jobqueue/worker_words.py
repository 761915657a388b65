"""The command line of ``dask worker``, as far as people give parts of it to dask-jobqueue, in corral's words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from corral.request.synonyms import MEANINGS

#: Options without a value.
_FLAGS = frozenset({
    "nanny", "no-nanny", "dashboard", "no-dashboard", "bokeh", "no-bokeh", "lifetime-restart", "no-lifetime-restart",
    "version",
})  # fmt: skip
_LEFT_OUT: Mapping[str, str] = {
    "lifetime": MEANINGS["lifetime"],
    "lifetime-stagger": MEANINGS["lifetime"],
    "lifetime-restart": MEANINGS["lifetime"],
    "name": "workers are called after their jobs",
    "pid-file": "cluster.jobs knows each job, and ends it",
    "scheduler-file": "workers join the scheduler of their cluster",
    "no-nanny": MEANINGS["no_nanny"],
}
_UNSAID = frozenset({"nanny", "dashboard", "bokeh", "no-lifetime-restart"})
_LOST: Mapping[str, str] = {
    "memory-limit": "a worker may use its share of memory=: say another memory=, or another processes=",
    "host": "name the network by interface=",
    "listen-address": "name the network by interface=",
    "contact-address": "name the network by interface=",
    "scheduler-sni": "workers join the scheduler of their cluster: leave it out",
    "tls-ca-file": "say security=distributed.Security(…)",
    "tls-cert": "say security=distributed.Security(…)",
    "tls-key": "say security=distributed.Security(…)",
}


@define
class WorkerWords:
    """What the words came to."""

    arguments: dict[str, Any] = field(factory=dict)
    #: Keyword arguments of `distributed.Worker`.
    options: dict[str, Any] = field(factory=dict)
    protocol: str | None = None
    changed: list[str] = field(factory=list)
    lost: list[str] = field(factory=list)


def read(words: Iterable[object]) -> WorkerWords:
    """Read the arguments of a worker: words, or several in one text, as a shell would split them.

    What cannot be read is among what is lost.
    """
    found = WorkerWords()
    text = " ".join(map(str, words))
    try:
        split = shlex.split(text)
    except ValueError as error:
        found.lost.append(f"worker_extra_args: {text!r} is no command line ({error})")
        return found
    while split:
        word = split.pop(0)
        if not word.startswith("--"):
            found.lost.append(f"worker_extra_args: {word!r} is no option of a worker; leave it out")
            continue
        name, equals, value = word[2:].partition("=")
        if name in _FLAGS:
            _flag(found, name)
            continue
        if not equals:
            if not split:
                found.lost.append(f"worker_extra_args: --{name} has no value")
                continue
            value = split.pop(0)
        _option(found, name, value)
    return found


def _flag(found: WorkerWords, name: str) -> None:
    if name in ("no-dashboard", "no-bokeh"):
        found.options["dashboard"] = False
    elif name in _LEFT_OUT:
        found.changed.append(f"worker_extra_args: --{name} is left out: {_meant(_LEFT_OUT[name])}")
    elif name not in _UNSAID:
        found.lost.append(f"worker_extra_args: --{name} is nothing that a worker starts with; leave it out")


def _meant(said: str) -> str:
    return said.removeprefix("leave it out: ")


def _option(found: WorkerWords, name: str, value: str) -> None:
    if (take := _TAKEN.get(name)) is not None:
        try:
            take(found, value)
        except ValueError:
            found.lost.append(f"worker_extra_args: {value!r} is nothing that --{name} takes")
    elif name in _LEFT_OUT:
        found.changed.append(f"worker_extra_args: --{name} is left out: {_meant(_LEFT_OUT[name])}")
    elif name in _LOST:
        found.lost.append(f"worker_extra_args: --{name} cannot be said of corral's workers: {_LOST[name]}")
    else:
        found.lost.append(
            f"worker_extra_args: --{name} is not an option of dask worker that corral knows; a keyword of "
            "distributed.Worker is one of Cluster(worker_options={…})"
        )


def _set(argument: str, convert: Callable[[str], Any] = str) -> Callable[[WorkerWords, str], None]:
    def take(found: WorkerWords, value: str) -> None:
        found.arguments[argument] = convert(value)

    return take


def _option_of_worker(name: str) -> Callable[[WorkerWords, str], None]:
    def take(found: WorkerWords, value: str) -> None:
        found.options[name] = value

    return take


def _listed(name: str) -> Callable[[WorkerWords, str], None]:
    def take(found: WorkerWords, value: str) -> None:
        found.options[name] = [*found.options.get(name, ()), value]

    return take


def _resources(found: WorkerWords, value: str) -> None:
    pairs = (pair.partition("=") for pair in re.split(r"[\s,]+", value.strip()))
    found.options["resources"] = {
        **found.options.get("resources", {}), **{name: _number(amount) for name, _, amount in pairs}
    }  # fmt: skip


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _ports(found: WorkerWords, value: str) -> None:
    """Workers and their nannies have one range here."""
    bounds = [int(bound) for bound in (*value.split(":"), *found.arguments.get("worker_ports", "").split(":")) if bound]
    if bounds == [0]:
        return
    if "worker_ports" not in found.arguments:
        found.changed.append("workers and their nannies listen on ports of one range, worker_ports=")
    found.arguments["worker_ports"] = f"{min(bounds)}:{max(bounds)}"


def _protocol(found: WorkerWords, value: str) -> None:
    found.protocol = value


_TAKEN: Mapping[str, Callable[[WorkerWords, str], None]] = {
    "resources": _resources,
    "nthreads": _set("threads", int),
    "nworkers": _set("processes", int),
    "nprocs": _set("processes", int),
    "worker-port": _ports,
    "nanny-port": _ports,
    "interface": _set("worker_interface"),
    "local-directory": _set("local_directory"),
    "death-timeout": _set("death_timeout"),
    "worker-class": _set("worker_class"),
    "protocol": _protocol,
    "preload": _listed("preload"),
    "preload-argv": _listed("preload_argv"),
    "preload-nanny": _listed("preload_nanny"),
    "preload-nanny-argv": _listed("preload_nanny_argv"),
    "dashboard-address": _option_of_worker("dashboard_address"),
    "dashboard-prefix": _option_of_worker("dashboard_prefix"),
}
