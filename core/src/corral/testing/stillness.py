"""Catches a hook that waits, looks at this machine, or reads this process's environment: by Python's own tracing."""

from __future__ import annotations

import fnmatch
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any

from corral.testing.silence import HookDidIO, silence

#: Functions of C that raise no audit event, or did not before Python 3.13.
_FORBIDDEN: dict[Any, str] = {
    time.sleep: "sleeps",
    select.select: "waits",
    signal.pause: "waits",
    **dict.fromkeys(
        (os.stat, os.lstat, os.access, os.readlink, os.listdir, os.scandir, os.statvfs, os.getcwd, os.uname),
        "looks at this machine",
    ),
}
_CLOCKS = frozenset(
    getattr(time, name + unit) for name in ("time", "monotonic", "perf_counter", "process_time") for unit in ("", "_ns")
)

#: A hook that looks at the clock more often waits for something.
MOST_GLANCES = 100
#: Lines of Python between two commands: recorded answers need a hundredth of that.
MOST_LINES = 500_000

_READS_ONE = type(os.environ).__getitem__.__code__
_READS_ALL = type(os.environ).__iter__.__code__
_WAITS = threading.Condition.wait.__code__

Trace = Callable[[FrameType, str, Any], Any]


class Stillness:
    """Silence in which everything else that a hook may not do is told, too. It makes Python slow.

    Parameters
    ----------
    may_read
        Patterns of variables that the backend says it reads from this process's environment.
    """

    def __init__(self, may_read: Collection[str] = ()) -> None:
        self._may_read = may_read
        self._broken: list[str] = []
        self._before: tuple[Any, Any] = (None, None)
        self._lines = self._glances = 0

    def __enter__(self) -> None:
        silence.__enter__()
        self._broken.clear()
        self._lines = self._glances = 0
        self._before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profile)
        sys.settrace(self._trace)

    def __exit__(self, *error: object) -> None:
        trace, profile = self._before
        sys.settrace(None)
        sys.setprofile(None)
        try:
            silence.__exit__(*error)
        finally:
            # cProfile's own is no function: set, it would have the next call of any function fail.
            sys.setprofile(profile if callable(profile) else None)
            sys.settrace(trace)
        # Said here once more: the hook may have swallowed it.
        if self._broken:
            raise HookDidIO("; ".join(dict.fromkeys(self._broken)))

    def _trace(self, frame: FrameType, event: str, _: Any) -> Trace:
        if event == "line":
            self._lines += 1
            if self._lines > MOST_LINES:
                self._lines = 0
                self._tell(frame, f"runs {MOST_LINES} lines of Python between two Commands: it never ends, or waits")
        return self._trace

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _is_hashable(called):
            if called in _CLOCKS:
                self._glances += 1
                if self._glances > MOST_GLANCES:
                    self._glances = 0
                    self._tell(frame, f"looks at the clock more than {MOST_GLANCES} times: it waits. The core waits")
            elif called in _FORBIDDEN:
                self._tell(frame, f"{_FORBIDDEN[called]} ({called.__name__}). Yield a Command, or leave it to the core")
        elif event == "call":
            code = frame.f_code
            if code is _READS_ONE:
                self._reads(frame, frame.f_locals["key"])
            elif code is _READS_ALL:
                self._reads(frame, "*")
            elif code is _WAITS:
                self._tell(frame, "waits for another thread")

    def _reads(self, frame: FrameType, name: str) -> None:
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in self._may_read):
            what = "all variables" if name == "*" else name
            self._tell(
                frame,
                f"reads {what} of this process's environment, which may be another machine's. Take it from a Command, "
                "or from the argument `environ`; what selects the server, declare in `BackendFacts.server`",
            )

    def _tell(self, frame: FrameType, what: str) -> None:
        self._broken.append(f"a hook {what} (at {_place(frame)})")
        raise HookDidIO(self._broken[-1])


def _is_hashable(called: Any) -> bool:
    try:
        hash(called)
    except TypeError:
        return False
    return True


def _place(frame: FrameType | None) -> str:
    """The innermost line that is not Python's own."""
    own = os.path.dirname(os.__file__)
    first = frame
    while (
        frame is not None
        and frame.f_code.co_filename.startswith((own, "<frozen"))
        and ("site-packages" not in frame.f_code.co_filename)
    ):
        frame = frame.f_back
    found = frame or first
    return "?" if found is None else f"{os.path.basename(found.f_code.co_filename)}:{found.f_lineno}"
