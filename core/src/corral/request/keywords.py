"""Keyword arguments for Dask's own classes, checked before a job is submitted that would die of them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import distributed
from distributed.comm.registry import get_backend

from corral.errors import InvalidRequest
from corral.request.synonyms import MEANINGS, meaning

#: Keywords of workers that are corral's own, and what says the same.
_OF_WORKERS: Mapping[str, str] = {
    "nthreads": "threads of each worker are threads=",
    "ncores": "threads of each worker are threads=",
    "memory_limit": "memory per node, shared by its workers, is memory=",
    "name": "workers are called after their jobs, by which corral knows them",
    "nanny": "every worker has a nanny, which restarts it and watches its memory",
    "worker_class": "it is worker_class=, an argument of its own",
    "security": "it is security=, an argument of the cluster",
    "scheduler_ip": "workers join the scheduler of their cluster",
    "scheduler_port": "it is scheduler_port=, an argument of the cluster",
    "scheduler_file": "workers join the scheduler of their cluster",
    "death_timeout": "it is death_timeout=, an argument of its own",
    "local_directory": "it is local_directory=, an argument of its own",
    "interface": "it is interface=, an argument of its own",
    "port": "ports of workers are worker_ports=, an argument of its own",
    "worker_port": "ports of workers are worker_ports=, an argument of its own",
    "nanny_port": "ports of nannies are among worker_ports=, an argument of its own",
    **dict.fromkeys(("lifetime", "lifetime_stagger", "lifetime_restart"), MEANINGS["lifetime"]),
}
#: Of nannies, which corral gives workers' options first.
_OF_NANNIES = frozenset({"env", "plugins", "preload", "preload_argv", "preload_nanny", "preload_nanny_argv", "config"})
_OF_SCHEDULERS: Mapping[str, str] = {
    "security": "it is security=, an argument of the cluster",
    "scheduler_file": "another program connects with Cluster.connect(name)",
}
#: Protocols that cannot be spoken without them, and one that goes no further than memory.
_OF_CERTIFICATES = frozenset({"tls", "wss"})
_OF_ONE_PROCESS = frozenset({"inproc"})


def check_worker(worker_class: object, options: Mapping[str, Any]) -> None:
    """Refuse a class that is no worker, and options that a worker would refuse.

    Raises
    ------
    InvalidRequest
    """
    for name in options:
        if name in _OF_WORKERS:
            raise InvalidRequest("worker_options", f"{name!r} is not one of them: {_OF_WORKERS[name]}")
    if "plugins" in options:
        raise InvalidRequest("worker_options", "'plugins' is not one of them: client.register_plugin(…) takes yours")
    found = distributed.Worker if worker_class is None else _imported(str(worker_class))
    if found is None:
        return  # there may be such a module where the jobs run
    if not (isinstance(found, type) and issubclass(found, distributed.Worker)):
        raise InvalidRequest("worker_class", f"{worker_class} is {found!r}, which is not a distributed.Worker")
    _refuse_unknown("worker_options", found, distributed.Worker, options, _OF_NANNIES)


def check_scheduler(options: Mapping[str, Any], also: Iterable[str] = ()) -> None:
    """Refuse options that a scheduler would refuse; `also` are some that are not for it.

    Raises
    ------
    InvalidRequest
    """
    for name in options:
        if name in _OF_SCHEDULERS:
            raise InvalidRequest("scheduler_options", f"{name!r} is not one of them: {_OF_SCHEDULERS[name]}")
    _refuse_unknown("scheduler_options", distributed.Scheduler, distributed.Scheduler, options, frozenset(also))


def check_protocol(protocol: str | None, security: object, *, is_plain: bool) -> None:
    """Refuse a protocol that does not exist here, or for which a cluster of this `security` has no credentials.

    Raises
    ------
    InvalidRequest
    """
    if protocol is None:
        return
    scheme, argument = protocol.rstrip(":/"), "scheduler_options"
    if not is_plain and scheme != "tls":
        raise InvalidRequest(
            argument,
            f"its protocol {protocol!r} does not go with security={security!r}: whoever has certificates speaks tls. "
            "Leave the protocol out, or say security=False for a cluster that everybody on the network can use",
        )
    if is_plain and scheme in _OF_CERTIFICATES:
        raise InvalidRequest(
            argument,
            f"its protocol {protocol!r} does not go with security={security!r}: it needs certificates. Leave security= "
            "out for TLS",
        )
    if scheme in _OF_ONE_PROCESS:
        raise InvalidRequest(argument, f"its protocol {protocol!r} reaches nobody outside of this process")
    try:
        get_backend(scheme)
    except ValueError:
        raise InvalidRequest(
            argument,
            f"its protocol {protocol!r} is not one that distributed knows here; one of a package (ucxx:// is "
            "distributed-ucxx's) has to be installed, here as in the jobs",
        ) from None
    except Exception as error:
        raise InvalidRequest(argument, f"its protocol {protocol!r} cannot be used here: {error}") from error


def _imported(path: str) -> object:
    """What is called so here; None if this host cannot tell."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit):
        return None


def _refuse_unknown(argument: str, made: type, ours: type, options: Mapping[str, Any], also: frozenset[str]) -> None:
    known = set(also)
    for owner in made.__mro__[:-1]:
        if "__init__" not in vars(owner):
            continue
        parameters = inspect.signature(vars(owner)["__init__"]).parameters.values()
        known |= {each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
        if not issubclass(ours, owner) and any(each.kind is each.VAR_KEYWORD for each in parameters):
            return  # a class of the user's own may take anything for itself
    for name in options:
        if name not in known:
            offered = known - {"self", *_OF_WORKERS}
            raise InvalidRequest(
                argument, f"{made.__module__}.{made.__qualname__} takes no {name!r}.{meaning(name, offered)}"
            )
