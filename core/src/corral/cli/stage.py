"""What `corral demo` shows: lines that stay, and in a terminal a live table of jobs below them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import define, field, frozen
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from corral.jobs.record import JobRecord
from corral.plugin.hookspecs import hookimpl
from corral.plugin.values import JobId, JobState, JobStatus

if TYPE_CHECKING:
    from corral.cluster.cluster import Cluster

#: How long a stage without a terminal may say nothing (s).
SILENCE = 5.0
#: Lines of the terminal that are not for jobs.
FRAME = 10
#: Seconds for which the live part stays as it is.
REFRESH = 0.125

_STYLES = {
    JobState.RUNNING: "green",
    JobState.PENDING: "yellow",
    JobState.HELD: "yellow",
    JobState.COMPLETED: "dim",
    JobState.CANCELLED: "magenta",
}


@frozen(kw_only=True)
class Change:
    """What the cluster's plugins heard of one job."""

    job: JobId
    before: JobState | None
    after: JobStatus


class Listener:
    """A plugin like any user's: it hears of every change of a job's state, on the cluster's event loop."""

    def __init__(self) -> None:
        self.heard: deque[Change] = deque()

    @hookimpl
    def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self.heard.append(Change(job=job, before=None if before is None else before.state, after=after))


@define(kw_only=True)
class Stage:
    """Lines, a table of jobs, and the progress of what is computed."""

    console: Console = field(factory=lambda: Console(highlight=False))
    listener: Listener = field(factory=Listener)
    cluster: Cluster | None = None
    #: What is computed, how many tasks of it are done, and how many it has.
    title: str = ""
    done: int = 0
    total: int = 0
    began: float = field(factory=time.monotonic)
    _spoke_at: float = field(factory=time.monotonic, init=False)
    _live: Live | None = field(default=None, init=False)
    _is_over: threading.Event = field(factory=threading.Event, init=False)
    _painter: threading.Thread | None = field(default=None, init=False)
    #: Held by whoever prints: the live part must know how many of its lines are to be wiped.
    _lock: threading.RLock = field(factory=threading.RLock, init=False)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            # It would repaint itself while a line is printed, and leave lines of an older table behind.
            self._live = Live(self, console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            self._painter = threading.Thread(target=self._paint, args=(self._live,), daemon=True)
            self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.tick()
        self._is_over.set()
        if self._live is not None and self._painter is not None:
            self._painter.join()
            self._live.stop()

    def _paint(self, live: Live) -> None:
        while not self._is_over.wait(REFRESH):
            with self._lock:
                live.refresh()

    # --- lines --------------------------------------------------------------------------------------------------

    def say(self, text: str, style: str = "") -> None:
        """Say a line that stays."""
        self._spoke_at = time.monotonic()
        line = Text(f"{self._spoke_at - self.began:5.1f} s  ", style="dim")
        line.append(text, style=style or "none")
        with self._lock:
            self.console.print(line, soft_wrap=True)

    def tick(self) -> None:
        """Say what has happened to jobs since the last time; without a terminal, also how far things are."""
        with self._lock:
            changes = [self.listener.heard.popleft() for _ in range(len(self.listener.heard))]
        for line, style in told(changes):
            self.say(line, style)
        if self._live is None and time.monotonic() - self._spoke_at > SILENCE and self.cluster is not None:
            progress = f"; {self.title}: {self.done:,} of {self.total:,} tasks" if self.total else ""
            self.say(f"{self.cluster!r}{progress}")

    def account(self, rows: Iterable[tuple[str, str]]) -> None:
        """Say at the end what it took."""
        self.console.print()
        if not self.console.is_terminal:
            for head, text in rows:
                self.console.print(f"{head:<14}{text}", soft_wrap=True)
            return
        table = Table.grid(padding=(0, 2))
        for head, text in rows:
            table.add_row(Text(head, style="bold"), Text(text))
        self.console.print(table)

    # --- the live part ------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Called by the display's own thread, eight times a second."""
        jobs = () if self.cluster is None else self.cluster.jobs
        if jobs:
            yield job_table(jobs, room=max(3, console.size.height - FRAME))
        if self.total:
            row = Table.grid(padding=(0, 2))
            bar = ProgressBar(total=self.total, completed=self.done, width=40)
            row.add_row(f"  {self.title}", bar, f"{self.done:,} of {self.total:,} tasks")
            yield row


def told(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """Lines for what happened, one for all jobs to which the same happened; each with its style."""
    alike: dict[tuple[JobState | None, JobState, str, str], list[JobId]] = {}
    for change in changes:
        after = change.after
        hosts = " ".join(after.hosts)
        if change.before is not after.state:
            alike.setdefault((change.before, after.state, after.reason, hosts), []).append(change.job)
    lines = []
    for (before, state, reason, hosts), jobs in alike.items():
        word = "submitted" if before is None else state.value
        which = f"job {jobs[0]}" if len(jobs) == 1 else f"{len(jobs)} jobs ({_some(jobs)})"
        why = f" ({reason})" if reason not in ("", "None") else ""
        lines.append((f"{which}: {word}{why}{f' on {hosts}' if hosts else ''}", _STYLES.get(state, "red")))
    return lines


def _some(jobs: Sequence[JobId]) -> str:
    return ", ".join(map(str, jobs)) if len(jobs) <= 4 else f"{jobs[0]} to {jobs[-1]}"


def job_table(jobs: Sequence[JobRecord], room: int) -> Table:
    """Jobs with their states, workers, hosts and reasons: as many as there is room for, living ones first."""
    table = Table("job", "state", "workers", "host", "reason", box=box.SIMPLE_HEAD, pad_edge=False)
    shown = {record.id for record in sorted(jobs, key=lambda record: record.has_ended)[:room]}
    for record in jobs:
        if record.id not in shown:
            continue
        word = "connected" if record.is_connected else record.state.value
        table.add_row(
            Text(str(record.id)),
            Text(word, style=_STYLES.get(record.state, "red")),
            Text(f"{len(record.workers)}/{record.expected_workers}"),
            Text(" ".join(record.hosts)),
            Text(record.reason),
        )
    if hidden := len(jobs) - len(shown):
        table.add_row("", Text(f"and {hidden} more", style="dim"))
    return table
