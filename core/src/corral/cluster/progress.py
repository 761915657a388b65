"""What people see while they wait for workers: a region of the terminal, plain lines, or an output of a notebook.

A thread of its own looks and shows, so that it goes on wherever the waiting is done: on the caller's thread, or on an
event loop. Leaving puts the terminal in order before anything else is printed, an error or a prompt after Ctrl-C.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from corral.text.logs import logger_of
from corral.view.lines import Line, arrived, failed, in_one, page_of, waiting
from corral.view.overview import Overview

if TYPE_CHECKING:
    from rich.live import Live

logger = logger_of()

#: Between two looks (s); looking takes a twentieth of the time at most.
INTERVAL, SHARE = 0.5, 20.0
#: A new line of text at the earliest and at the latest after so long (s).
LINE_AFTER, LINE_AGAIN = 10.0, 300.0
#: Leaving does not wait longer for the thread (s), which a stopped terminal may hold.
PATIENCE = 2.0


class Surface(Protocol):
    """Where it is shown."""

    def show(self, overview: Overview, goal: int, began: float) -> None:
        """Show how it stands; `began` is when the waiting began (s since the epoch)."""

    def leave(self, last: Line | None) -> None:
        """Put in order what was shown; leave this line, if there is one, where anything was."""


class Progress:
    """Shows on a surface how a wait for workers goes, for as long as it is entered."""

    def __init__(self, overview: Callable[[], Overview], goal: Callable[[Overview], int], surface: Surface) -> None:
        self._overview = overview
        self._goal = goal
        self._surface = surface
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="corral progress", daemon=True)
        self._entered = 0.0

    def __enter__(self) -> Self:
        self._entered = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        last = None
        if kind is None:
            with suppress(Exception):
                now = self._overview()
                last = arrived(now.name, now.workers, time.monotonic() - self._entered)
        self._surface.leave(last)

    def _run(self) -> None:
        pause, began = INTERVAL, 0.0
        while not self._stop.wait(pause):
            looked = time.monotonic()
            try:
                found = self._overview()
                # By the clock over there, if the cluster is elsewhere.
                began = began or found.moment - (looked - self._entered)
                self._surface.show(found, self._goal(found), began)
            except Exception:
                # Who waits for workers goes on waiting.
                logger.debug("how the waiting goes could not be shown", exc_info=True)
            pause = max(INTERVAL, SHARE * (time.monotonic() - looked))


# --- surfaces ---------------------------------------------------------------------------------------------------


class Region:
    """Some lines at the bottom of a terminal, drawn anew each time and erased at the end."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False, emoji=False)
        self._live: Live | None = None

    def show(self, overview: Overview, goal: int, began: float) -> None:
        from rich.console import Group
        from rich.live import Live

        if self._live is None:
            # What others print meanwhile goes above it; what goes into a file stays there.
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=bool(sys.stdout) and sys.stdout.isatty(),
            )
            self._live.start()
            # Whoever is killed, or stopped by Ctrl-Z, leaves a terminal with a cursor.
            self._console.show_cursor(True)
        lines = waiting(overview, goal, began)
        self._live.update(Group(*(line.rich() for line in lines)), refresh=True)

    def leave(self, last: Line | None) -> None:
        if self._live is not None:
            self._live.stop()
            if last is not None:
                self._console.print(last.rich())


class Lines:
    """A line when something has changed, not more often than anybody wants to read in a log; a failure at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: set[tuple[str, str]] = set()
        self._key: tuple[object, ...] = ()
        self._at = -math.inf

    def show(self, overview: Overview, goal: int, began: float) -> None:
        for each in overview.failures:
            if each.moment >= began and (each.group, each.cause) not in self._told:
                self._told.add((each.group, each.cause))
                self._print(failed(each))
        now = time.monotonic()
        key = _what_matters(overview)
        if now - self._at >= (LINE_AFTER if key != self._key else LINE_AGAIN):
            self._key, self._at = key, now
            self._print(in_one(overview, goal))

    def leave(self, last: Line | None) -> None:
        if last is not None:
            self._print(last)

    def _print(self, line: Line) -> None:
        print(line, file=self._stream, flush=True)


class Output:
    """An output of a notebook's cell, which is replaced each time."""

    def __init__(self) -> None:
        from IPython.display import display

        # Here, on the cell's own thread: that says which cell it belongs to.
        self._handle = display(_bundle([Line.of(("waiting for workers …", "faint"))]), raw=True, display_id=True)

    def show(self, overview: Overview, goal: int, began: float) -> None:
        self._handle.update(_bundle(waiting(overview, goal, began)), raw=True)

    def leave(self, last: Line | None) -> None:
        self._handle.update(_bundle([] if last is None else [last]), raw=True)


def _bundle(lines: Sequence[Line]) -> dict[str, Any]:
    return {"text/plain": "\n".join(map(str, lines)), "text/html": page_of(lines)}


def _what_matters(overview: Overview) -> tuple[object, ...]:
    """What makes another line worth reading."""
    return (
        overview.workers,
        *((group.name, tuple(group.jobs.values()), group.reasons[:1], group.trouble) for group in overview.groups),
    )


def surface_for(progress: bool | None) -> Surface | None:
    """Where to show it; None: nowhere.

    Parameters
    ----------
    progress
        What the user said: True, False, or None for wherever somebody looks on.
    """
    if progress is False:
        return None
    if is_notebook():
        return Output()
    is_terminal = sys.stderr is not None and sys.stderr.isatty() and "CI" not in os.environ
    if is_terminal and os.environ.get("TERM", "dumb") != "dumb":
        return Region(sys.stderr)
    return Lines(sys.stderr) if progress or is_terminal else None


def is_notebook() -> bool:
    """True if a kernel of Jupyter's runs this, which shows rich outputs."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def showing(overview: Callable[[], Overview], goal: Callable[[Overview], int], progress: bool | None) -> Iterator[bool]:
    """Show how a wait for workers goes, and say whether it is shown anywhere.

    Parameters
    ----------
    overview
        How the cluster stands; called from a thread.
    goal
        How many workers are waited for, of a cluster that stands so.
    progress
        As for `surface_for`.
    """
    surface = surface_for(progress)
    if surface is None:
        yield False
        return
    with Progress(overview, goal, surface):
        yield True
