"""One import for all workers of a node.

What they will use is imported once, before the first of them is forked: each starts with it, and they share its
memory. It is the zygote that imports what the user named, not the launcher, because nothing can be un-imported: a
module that starts threads or opens connections cannot be forked with. It is found out by what the process has before
and after; that zygote then ends, and the launcher, which still has a single thread, forks another, which leaves the
module out. A module that crashes Python, or whose import does not end, is survived in the same way.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import re
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import dask
from attrs import define, field, frozen

from corral.launch.affinity import fewer_threads
from corral.launch.ending import flush, say
from corral.launch.options import Options
from corral.launch.zygote import Zygote, die_with_parent, outlive_parent, threads_left

#: What each worker imports before its first task, besides the handlers of its HTTP server: in 18 ms and 3.7 MB, which
#: 16 workers on 2 cores waited for during a seventh of a second.
_BY_ALL_WORKERS = ("numpy.random", "tornado.platform.asyncio", "email.policy")
#: Have libraries that would start a thread when they are loaded start none. The one of pyarrow, which pandas and
#: dask.dataframe import, belongs to its copy of jemalloc and returns unused memory: without it, jemalloc does that
#: while it allocates, as it would in any fork, which has no such thread either.
_WITHOUT_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
#: Files without a position or a peer: who shares them notices nothing.
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
#: The zygote reports in messages of limited size: characters of an error that fit in any case, at 12 bytes for one that
#: JSON has to escape twice.
_LONGEST = 250
#: Seconds after which the job's log says what its workers are waiting for.
_LONG = 10.0


def import_for_all() -> None:
    """Import what each worker would import by itself, in the launcher: its nannies use some of it, too."""
    # Not a site's own: nobody knows yet whether these can be forked with.
    routes = [each for each in dask.config.get("distributed.worker.http.routes", ()) if each.startswith("distributed.")]
    for name in (*routes, *(f"{route}.core" for route in routes if route.endswith(".prometheus")), *_BY_ALL_WORKERS):
        # Nobody asked for these, and a worker that needs one says so.
        with suppress(Exception):
            importlib.import_module(name)


@frozen(kw_only=True)
class Preimport:
    """What to import before workers are forked, and where."""

    modules: Sequence[str] = ()
    #: Variables that all workers will have, and the launcher has not: modules read them when they are imported.
    environ: Mapping[str, str] = field(factory=dict)
    #: Seconds that the import of one module may take.
    patience: float = 60.0

    @classmethod
    def of(cls, options: Options, cpus: int | None = None) -> Preimport:
        """What a launcher was told, for workers of which each may use so many CPUs; None: all."""
        configured = [
            (name, str(value))
            for key in ("pre-spawn-environ", "environ")
            for name, value in dask.config.get(f"distributed.nanny.{key}", {}).items()
            # As nannies have it: what is set comes before what is configured.
            if value is not None and name not in os.environ
        ]
        given = {name: str(value) for name, value in options.worker_options.get("env", {}).items()}
        environ = {**dict(configured), **given}
        return cls(
            modules=tuple(dict.fromkeys(options.preimport)),
            environ=environ if cpus is None else environ | fewer_threads(cpus, environ),
            patience=options.death_timeout,
        )


def fork_prepared(
    work: Callable[[socket.socket], None], scratch: str, preimport: Preimport
) -> tuple[Zygote, dict[str, str]]:
    """Start a zygote that has these modules; returns also why some are left out, by name.

    Call it while the process has one thread; forked workers leave it by SystemExit, as they do `Zygote.fork`. Returns
    when everything is imported, or was given up: the time that a worker has to reach the scheduler begins later.
    """
    left_out: dict[str, str] = {}
    while modules := [name for name in preimport.modules if name not in left_out]:
        prepare = functools.partial(_import_all, modules, preimport.environ, os.getpid())
        zygote = Zygote.fork(work, scratch, prepare)
        try:
            if _hear(zygote, modules, left_out, preimport.patience):
                return zygote, left_out
        except BaseException:
            # A signal ends the launcher, and with it a zygote that imports, which would remove this otherwise.
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    return Zygote.fork(work, scratch), left_out


@define
class _Effects:
    """What modules have changed outside of themselves when they were imported.

    A forked worker takes over its nanny's environment, search path and configuration, which know nothing of that.
    """

    #: None: it was removed.
    environ: Mapping[str, str | None] = field(factory=dict)
    #: Folders that were put before those that were searched already, and behind.
    first: Sequence[str] = ()
    last: Sequence[str] = ()
    #: Of Dask's configuration.
    config: Mapping[str, Any] = field(factory=dict)

    def note(self, environ: Mapping[str, str], path: Sequence[str], config: Mapping[str, Any]) -> None:
        """See what has changed since these were everything."""
        names = environ.keys() | os.environ.keys()
        self.environ = {name: os.environ.get(name) for name in names if os.environ.get(name) != environ.get(name)}
        known = next((index for index, folder in enumerate(sys.path) if folder in path), len(sys.path))
        self.first = sys.path[:known]
        self.last = [folder for folder in sys.path[known:] if folder not in path]
        self.config = _changed(dask.config.config, config)

    def redo(self) -> None:
        """Change it again, in a process that has another environment, search path and configuration now."""
        for name, value in self.environ.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        sys.path[:] = [*self.first, *sys.path, *self.last]
        dask.config.update(dask.config.config, self.config)


def _copied(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in config.items()}


def _changed(config: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration has that was not in it, or was another object: values need not be comparable."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        known = before.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            if inner := _changed(value, known):
                found[key] = inner
        elif key not in before or value is not known:
            found[key] = value
    return found


#: Of what was imported in this process, or in the zygote of which it is a fork.
_effects = _Effects()


def redo_effects() -> None:
    """In a worker, when it has what it takes over from its nanny: have what its modules have changed."""
    _effects.redo()


# --- in the launcher --------------------------------------------------------------------------------------------


def _hear(zygote: Zygote, modules: Sequence[str], left_out: dict[str, str], patience: float) -> bool:
    """Listen to a zygote that imports; False if it cannot be forked from any more."""
    current = None
    try:
        while (news := _next(zygote, current, patience)) is not None:
            if news.get("imported"):
                return True
            current = news["module"]
            if "problem" in news:
                left_out[current] = news["problem"]
                current = None
            if news.get("is_spoiled"):
                zygote.kill()
                return False
        how = _described_end(zygote.kill())
    except TimeoutError:
        zygote.kill()
        how = f"had not ended after {patience:g} s (death_timeout=)"
    # One that has died between two modules would die again.
    for name in modules if current is None else [current]:
        left_out.setdefault(name, f"importing it {how}")
    return False


def _next(zygote: Zygote, current: str | None, patience: float) -> dict[str, Any] | None:
    if patience > _LONG and current is not None:
        with suppress(TimeoutError):
            return zygote.receive(_LONG)
        say(f"importing {current} takes more than {_LONG:g} s: workers wait for it, for {patience:g} s at most")
        patience -= _LONG
    return zygote.receive(patience)


def _described_end(code: int) -> str:
    if code >= 0:
        return f"ended the process with code {code}"
    with suppress(ValueError):
        return f"ended the process by {signal.Signals(-code).name}"
    return f"ended the process by signal {-code}"


# --- in the zygote ----------------------------------------------------------------------------------------------


def _import_all(
    modules: Sequence[str], environ: Mapping[str, str], launcher: int, tell: Callable[[Mapping[str, Any]], None]
) -> None:
    """Import everything, unless something cannot be forked with: then end."""
    # While it imports it hears nothing of the launcher's end.
    die_with_parent(launcher)
    os.environ.update(environ)
    for name, value in _WITHOUT_THREADS.items():
        os.environ[name] = f"{value},{os.environ[name]}" if name in os.environ else value
    everything = dict(os.environ), list(sys.path), _copied(dask.config.config)
    # Modules stay, and looking for garbage among them takes time.
    gc.disable()
    before = _Traces.now()
    for name in modules:
        tell({"module": name})
        problem = _import(name)
        spoils = _Traces.now().beside(before)
        if problem or spoils:
            tell({"module": name, "problem": spoils or problem, "is_spoiled": bool(spoils)})
        if spoils:
            os._exit(0)
    _effects.note(*everything)
    # What a module has printed is printed once, not by each fork.
    flush()
    # A collection writes into the head of each object that it looks at, and so copies its page. Frozen ones are not
    # looked at: 8 workers with pandas and dask.dataframe had 437 MB (PSS) after a collection in each, and 588 MB if
    # only what distributed brings was frozen.
    gc.freeze()
    gc.enable()
    outlive_parent()
    tell({"imported": True})


def _import(name: str) -> str:
    """Import a module; returns what went wrong, or nothing."""
    try:
        importlib.import_module(name)
    except BaseException as error:  # whatever it raises, SystemExit too: workers start all the same
        # Modules that raise it themselves may name nothing.
        if isinstance(error, ModuleNotFoundError) and error.name:
            if name == error.name or name.startswith(f"{error.name}."):
                return f"there is no module {error.name!r}"[:_LONGEST]
            return f"it needs {error.name!r}, which is missing"[:_LONGEST]
        return "".join(traceback.format_exception_only(error)).strip()[:_LONGEST]
    return ""


@frozen
class _Traces:
    """What this process has that a fork would not have, or would share."""

    threads: int
    #: By descriptor: what it is.
    descriptors: Mapping[str, str]
    has_children: bool

    @classmethod
    def now(cls) -> _Traces:
        # Threads first: that waits for those that are about to end.
        return cls(threads_left(), _descriptors(), _has_children())

    def beside(self, before: _Traces) -> str:
        """Why this cannot be forked with, if it could before; else nothing."""
        found = []
        if (threads := self.threads - before.threads) > 0:
            found.append(f"starts {threads} thread{'s' * (threads > 1)}")
        if opened := sorted(
            {what for number, what in self.descriptors.items() if before.descriptors.get(number) != what}
        ):
            found.append(f"opens {', '.join(opened)}"[:_LONGEST])
        if self.has_children and not before.has_children:
            found.append("starts a process")
        return f"its import {' and '.join(found)}, with which workers cannot be forked" if found else ""


def _descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # One of them was for the listing.
        with suppress(OSError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    # Of a ``socket:[4711]`` nobody else has heard.
    return {number: re.sub(r":\[\d+\]$", "", what) for number, what in found.items() if what not in _HARMLESS}


def _has_children() -> bool:
    # One that has ended is not waited for any more; the zygote would not know it.
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False
