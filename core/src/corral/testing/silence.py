"""Catches a hook that does I/O, by Python's audit events."""

from __future__ import annotations

import functools
import gc
import importlib.machinery
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import pluggy

from corral.plugin.values import Completed, Conversation

T = TypeVar("T")

#: Beginnings of the audit events that no hook may raise.
FORBIDDEN = (
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.kill",
    "pty.spawn",
    "socket.",
    "sqlite3.connect",
    "time.sleep",  # since Python 3.13
    "os.putenv",
    "os.unsetenv",
    "os.chdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "shutil.",
    "tempfile.",
)

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CODE = tuple(importlib.machinery.all_suffixes())


class HookDidIO(AssertionError):
    """A hook did what only a Command may do."""


class _Silence(threading.local):
    """A context in which this thread may do no I/O but import modules."""

    def __init__(self) -> None:
        self.broken: list[str] | None = None
        self.writes_bytecode = False
        self.collects = False

    def __enter__(self) -> None:
        _install()
        # What the garbage collector finalizes is not the hook's.
        self.collects = gc.isenabled()
        gc.disable()
        self.writes_bytecode = not sys.dont_write_bytecode
        sys.dont_write_bytecode = True
        self.broken = []

    def __exit__(self, *_: object) -> None:
        broken, self.broken = self.broken, None
        sys.dont_write_bytecode = not self.writes_bytecode
        if self.collects:
            gc.enable()
        # Said here once more: the hook may have swallowed what the audit hook raised.
        if broken:
            raise HookDidIO("; ".join(broken))


silence = _Silence()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if silence.broken is not None and _is_io(event, arguments):
        silence.broken.append(f"a hook did I/O: {event}{arguments!r}. Yield a Command instead")
        raise HookDidIO(silence.broken[-1])


def _is_io(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return bool((flags or 0) & _WRITING) or not str(path).endswith(_CODE)
    return event.startswith(FORBIDDEN)


@functools.cache
def _install() -> None:
    """Once, and for the life of the process: an audit hook cannot be removed."""
    sys.addaudithook(_audit)


class _Watched(type(os.environ)):  # type: ignore[misc]
    """This process's variables, for as long as somebody wants to know which of them are read."""

    read: set[str] = set()  # noqa: RUF012 - a new one for each watch

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        value: str = super().__getitem__(name)
        return value

    def __iter__(self) -> Iterator[str]:
        self.read.add("all variables")
        yield from super().__iter__()


@contextmanager
def reads_of_environment() -> Iterator[set[str]]:
    """The names of the variables that are read meanwhile, wherever in this process."""
    read: set[str] = set()
    _Watched.read = read
    plain = type(os.environ)
    # The object itself: who imported it has that, whatever `os` calls by its name now.
    os.environ.__class__ = _Watched
    try:
        yield read
    finally:
        os.environ.__class__ = plain


class SilentHooks:
    """The hooks of a manager, none of which may do I/O, neither when called nor in the course of its conversation.

    Parameters
    ----------
    watch
        What each step of a hook runs in.
    """

    def __init__(self, manager: pluggy.PluginManager, watch: AbstractContextManager[None] = silence) -> None:
        self._manager = manager
        self._watch = watch

    def __getattr__(self, name: str) -> Callable[..., Any]:
        caller = getattr(self._manager.hook, name)

        def call(**arguments: object) -> Any:
            with self._watch:
                result = caller(**arguments)
            return _silent(result, self._watch) if hasattr(result, "throw") else result

        return call


def _silent(conversation: Conversation[T], watch: AbstractContextManager[None]) -> Conversation[T]:
    completed: Completed | None = None
    error: BaseException | None = None
    try:
        while True:
            with watch:
                command = conversation.throw(error) if error else conversation.send(completed)  # type: ignore[arg-type]
            error = None
            try:
                completed = yield command
            except GeneratorExit:
                raise
            except BaseException as thrown:
                error = thrown
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        with watch:
            conversation.close()
