"""The launcher's command line, checked once. Imports nothing heavy: a job's first second starts here."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from attrs import Factory, frozen

from corral.environment.versions import mismatch
from corral.launch.ending import Exit
from corral.launch.runtimes import Inside
from corral.text.docstrings import docstring
from corral.text.variables import expanded_path

N = TypeVar("N", int, float)


@frozen(kw_only=True)
class Options:
    """What the job's script asked for."""

    #: The version of corral that asks for this; empty: it did not say.
    made_by: str = ""
    #: The file that `corral.security.credentials.Credentials.write` wrote.
    credentials: str
    #: When it was written, in seconds since the epoch; None: it must be there at once.
    cluster_created: float | None = None
    backend: str | None = None
    site: str | None = None
    site_options: dict[str, Any] = Factory(dict)
    #: The batch system's name, if it is not the cluster's own: its jobs' names begin with it.
    system: str = ""
    backend_options: dict[str, Any] = Factory(dict)
    job_name: str = ""
    group: str = "default"
    #: Worker processes on this node.
    workers: int = 1
    #: Per worker.
    threads: int = 1
    #: Bytes per worker; 0: no limit.
    memory_limit: int = 0
    #: Per node, shared by its workers.
    gpus: int = 0
    #: Seconds, counted from the start of the job's script.
    walltime: float | None = None
    #: Seconds before the end at which draining begins; None: a tenth of the walltime, 10 s to 2 min.
    lead: float | None = None
    #: Seconds that draining may take after a signal.
    grace: float = 20.0
    interface: str | None = None
    #: For workers and nannies, both ends included.
    worker_ports: tuple[int, int] | None = None
    local_directory: str | None = None
    #: Seconds to reach the scheduler.
    death_timeout: float = 60.0
    #: ``fork`` or ``spawn``.
    launcher: str = "fork"
    #: What each worker is bound to: ``none``, ``cores`` or ``near-gpu``.
    affinity: str = "none"
    #: Modules to import before workers are forked.
    preimport: tuple[str, ...] = ()
    #: More keyword arguments for `distributed.Worker`.
    worker_options: dict[str, Any] = Factory(dict)
    #: What this launcher becomes when it knows its place; None: it has the workers itself.
    inside: Inside | None = None
    #: What the launcher that became this one knew; empty: there was none.
    allocation: str = ""
    #: Which node of the job this is; None: as the allocation says.
    node_index: int | None = None
    #: The first node of the job has no workers.
    spare_first_node: bool = False

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Options:
        """Read a command line; ends the process with code 2 if it is wrong."""
        # Before the rest, which another version may spell otherwise.
        asked_by = next((word.partition("=")[2] for word in arguments if word.startswith(f"{_MADE_BY}=")), "")
        parser = _parser(mismatch(asked_by) if asked_by else None)
        options = cls(**vars(parser.parse_args(arguments)))
        if options.worker_ports is not None:
            first, last = options.worker_ports
            # A worker and its nanny listen on a port each.
            if last - first + 1 < 2 * options.workers:
                parser.error(
                    f"--worker-ports: {last - first + 1} ports are too few for {options.workers} workers, "
                    f"which need {2 * options.workers}"
                )
        return options


class _Parser(argparse.ArgumentParser):
    #: Why it may not understand what it is told.
    doubt: str | None = None

    def error(self, message: str) -> NoReturn:
        doubt = "" if self.doubt is None else f"corral: {self.doubt}\n"
        self.exit(Exit.USAGE, f"{doubt}corral: {message}\n")


_MADE_BY = "--made-by"


def _parser(doubt: str | None = None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m corral.launch", allow_abbrev=False, description=__doc__ or docstring("corral.launch.options")
    )
    parser.doubt = doubt
    add = parser.add_argument
    add(_MADE_BY, default="", metavar="VERSION")
    add("--credentials", required=True, metavar="FILE")
    add("--cluster-created", type=_number(float), metavar="EPOCH")
    add("--backend", metavar="NAME")
    add("--site", metavar="NAME")
    add("--site-options", type=_mapping, default={}, metavar="JSON")
    add("--system", default="", metavar="NAME")
    add("--backend-options", type=_mapping, default={}, metavar="JSON")
    add("--job-name", default="", metavar="NAME")
    add("--group", default="default", metavar="NAME")
    add("--workers", type=_number(int, least=1), default=1, metavar="N")
    add("--threads", type=_number(int, least=1), default=1, metavar="N")
    add("--memory-limit", type=_number(int), default=0, metavar="BYTES")
    add("--gpus", type=_number(int), default=0, metavar="N")
    add("--walltime", type=_number(float, least=1), metavar="SECONDS")
    add("--lead", type=_number(float), metavar="SECONDS")
    add("--grace", type=_number(float), default=20.0, metavar="SECONDS")
    add("--interface", metavar="NAME")
    add("--worker-ports", type=_ports, metavar="FIRST:LAST")
    add("--local-directory", type=_directory, metavar="DIRECTORY")
    add("--death-timeout", type=_number(float, least=1), default=60.0, metavar="SECONDS")
    add("--launcher", choices=["fork", "spawn"], default="fork")
    add("--affinity", choices=["none", "cores", "near-gpu"], default="none")
    add("--preimport", type=_modules, default=(), metavar="MODULE,...")
    add("--worker-options", type=_worker_options, default={}, metavar="JSON")
    add("--inside", type=_inside, metavar="JSON")
    add("--allocation", default="", metavar="JSON")
    add("--node-index", type=_number(int), metavar="N")
    add("--spare-first-node", action="store_true")
    return parser


def _number(kind: type[N], least: int = 0) -> Callable[[str], N]:
    def parse(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        # Written so that nan, which compares with nothing, is refused.
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least} on")
        return value

    return parse


def _directory(text: str) -> str:
    """A folder of this node: its variables are set here, not where the job was submitted."""
    try:
        return expanded_path(text, os.environ)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, on {socket.gethostname()}") from None


def _ports(text: str) -> tuple[int, int]:
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 10000:10100") from None
    if not 1 <= first <= last <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a range of ports between 1 and 65535")
    return first, last


def _modules(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text} is not a JSON object")
    return value


def _inside(text: str) -> Inside:
    try:
        return Inside.read(_mapping(text))
    except TypeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def _worker_options(text: str) -> dict[str, Any]:
    options = _mapping(text)
    for name, option in (("name", "--job-name"), ("nthreads", "--threads"), ("memory_limit", "--memory-limit")):
        if name in options:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of them: the launcher sets it, see {option}")
    return options
