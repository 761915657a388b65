"""``corral top``: a cluster as it runs, in the whole window of a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import click
from attrs import asdict

from corral.cli import completing
from corral.cli.tables import say, say_json
from corral.cli.watched import Watched, watched
from corral.errors import CorralError
from corral.view.lines import Line
from corral.view.overview import GroupView, JobView, Overview
from corral.view.screen import Choice, choices, detail, page, text_of

if TYPE_CHECKING:
    from corral.cli.display import Display

#: Between two pages if no key is pressed (s); and how long a message stays.
REFRESH, MESSAGE_STAYS = 1.0, 8.0
#: A group cannot be asked for more jobs than so many digits say.
DIGITS = 6
_KEYS = "↑↓ choose  + - one job more, less  s size  c cancel  l log  q quit"
_SHORT_KEYS = "↑↓ + - s c l q"
_WATCH_KEYS = "↑↓ choose  l log  q quit"
_LOG_KEYS = "↑↓ scroll  end: newest  q back"


@click.command()
@click.argument("name", required=False, shell_complete=completing.clusters)
@click.option("--once", is_flag=True, help="Print it once, as plain lines.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="For programs: one JSON object, what cluster.overview() says, and why if that is not all.",
)
@click.option("--timeout", default="60s", show_default=True, help="How long to wait for a scheduler that is starting.")
def top(name: str | None, once: bool, as_json: bool, timeout: str) -> None:
    """Watch a cluster that runs, and scale it.

    It shows groups, jobs, workers, tasks, memory and hours, why jobs wait, and what fails. Of a cluster whose scheduler
    is in a job, or was started by corral serve, everything is shown, and it can be scaled. Of any other, what its
    process writes for corral ps. NAME may be left out if there is one cluster alone.

    Keys: up and down choose a group or a job; + and - ask for one job more or less of the group, s for a number; c ends
    the job, which is not replaced; l shows its log; q quits. Where nobody sits at a terminal, it is printed once.
    """
    from corral.cli.display import Display, can_draw

    is_drawn = not once and not as_json and can_draw()
    if is_drawn:
        say("connecting …", err=True)
    cluster = watched(name, timeout)
    try:
        if as_json:
            say_json({**asdict(cluster.overview()), "partial": cluster.partial})
        elif not is_drawn:
            for line in page(cluster.overview(), width=None, partial=cluster.partial):
                click.echo(str(line))
        else:
            with Display() as display:
                Top(cluster, display).run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        cluster.close()


class Top:
    """What is selected, asked and told; a page is made of that and of an overview."""

    def __init__(self, cluster: Watched, display: Display) -> None:
        self._cluster = cluster
        self._display = display
        self._overview: Overview = cluster.overview()
        self._chosen: Choice | None = next(iter(choices(self._overview)), None)
        self._mode: Literal["list", "confirm", "number", "log"] = "list"
        self._typed = ""
        self._question = ""
        self._confirmed: Callable[[], None] = lambda: None
        self._told, self._told_at = Line.of(), 0.0
        #: What is asked of the cluster is done one after the other, and nobody waits for it.
        self._asks = ThreadPoolExecutor(1, "corral top")
        self._asked: list[Future[None]] = []
        #: Sizes that were asked for and are not in the overview yet.
        self._wished: dict[str, int] = {}
        self._log: tuple[JobView, list[str]] | None = None
        self._scrolled: int | None = None
        self._read_at = 0.0

    def run(self) -> None:
        """Show pages until somebody quits."""
        try:
            while True:
                self._look()
                self._display.draw(self._page())
                if (key := self._display.key(REFRESH)) and not self._pressed(key):
                    return
        finally:
            self._asks.shutdown(wait=False, cancel_futures=True)

    # --- what is seen -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        for each in [each for each in self._asked if each.done()]:
            self._asked.remove(each)
            if error := each.exception():
                self._tell(str(error), is_bad=True)
        self._overview = self._cluster.overview()
        if not self._asked:
            self._wished.clear()
        there = choices(self._overview)
        if self._chosen not in there:
            group = self._chosen.group if self._chosen else ""
            self._chosen = next((each for each in there if each.name == group), next(iter(there), None))

    def _page(self) -> list[Line]:
        width, height = self._display.size
        if self._mode == "log" and self._log is not None:
            return self._log_page(width, height)
        keys = _WATCH_KEYS if self._cluster.partial else _KEYS if width >= len(_KEYS) else _SHORT_KEYS
        return page(
            self._overview,
            width=width,
            height=height,
            chosen=self._chosen,
            told=[self._message(), Line.of((keys, "faint"))],
            partial=self._cluster.partial,
        )

    def _message(self) -> Line:
        if self._mode == "confirm":
            return Line.of((f"{self._question} (y/n) ", "strong"))
        if self._mode == "number":
            return Line.of((f"jobs of {self._chosen.group if self._chosen else ''}: {self._typed}_", "strong"))
        if self._cluster.ending:
            return Line.of((self._cluster.ending, "bad"))
        if self._told.parts and time.monotonic() - self._told_at < MESSAGE_STAYS:
            return self._told
        return detail(self._overview, self._chosen)

    def _tell(self, text: str, *, is_bad: bool = False) -> None:
        self._told, self._told_at = Line.of((text.partition("\n")[0], "bad" if is_bad else "busy")), time.monotonic()

    # --- keys ---------------------------------------------------------------------------------------------------

    def _pressed(self, key: str) -> bool:
        """Do what a key says; False: quit."""
        if self._mode == "log":
            self._scroll(key)
        elif self._mode == "confirm":
            self._mode = "list"
            if key in ("y", "Y"):
                self._confirmed()
            else:
                self._tell("nothing was done")
        elif self._mode == "number":
            self._type(key)
        elif key in ("q", "Q"):
            return False
        else:
            self._choose(key)
        return True

    def _choose(self, key: str) -> None:
        there = choices(self._overview)
        moves = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page up": -10,
            "page down": 10,
            "home": -len(there),
            "end": len(there),
        }
        if key in moves and self._chosen is not None:
            at = there.index(self._chosen) + moves[key]
            self._chosen = there[max(0, min(at, len(there) - 1))]
            self._told = Line.of()
        elif key in ("l", "enter"):
            self._open_log()
        elif key in ("+", "=", "-", "s", "c") and self._cluster.partial:
            self._tell("it can be changed only where it was made", is_bad=True)
        elif key in ("+", "="):
            self._resize(1)
        elif key == "-":
            self._resize(-1)
        elif key == "s" and self._group is not None:
            self._mode, self._typed = "number", ""
        elif key == "c":
            self._cancel()

    @property
    def _group(self) -> GroupView | None:
        """Of the selected row."""
        name = self._chosen.group if self._chosen else None
        return next((group for group in self._overview.groups if group.name == name), None)

    @property
    def _job(self) -> JobView | None:
        chosen = self._chosen
        if chosen is None or chosen.kind != "job":
            return None
        return next((job for job in self._overview.jobs if job.id == chosen.name), None)

    def _type(self, key: str) -> None:
        if key == "enter":
            self._mode = "list"
            if self._typed and (group := self._group) is not None:
                self._scale(group, int(self._typed))
        elif key == "backspace":
            self._typed = self._typed[:-1]
        elif key.isascii() and key.isdigit():
            self._typed = (self._typed + key)[:DIGITS]
        elif key in ("escape", "q"):
            self._mode = "list"

    def _resize(self, by: int) -> None:
        if (group := self._group) is not None:
            self._scale(group, max(0, self._wished.get(group.name, group.wanted) + by))

    def _scale(self, group: GroupView, jobs: int) -> None:
        def scale() -> None:
            self._wished[group.name] = jobs
            self._tell(f"{group.name}: {jobs:,} jobs are asked for")
            self._ask(lambda: self._cluster.scale(group.name, jobs))

        if group.adapts and group.name not in self._wished:
            self._confirm(f"{group.name} adapts to its work. Keep it at {jobs:,} jobs instead?", scale)
        else:
            scale()

    def _cancel(self) -> None:
        job = self._job
        if job is None:
            self._tell("choose a job first", is_bad=True)
        elif job.phase == "ended":
            self._tell(f"job {job.id} has ended", is_bad=True)
        else:
            how = "Its tasks finish first; it" if job.workers else "It"
            self._confirm(
                f"End job {job.id}? {how} is not replaced.", lambda: self._ask(lambda: self._cluster.cancel(job.id))
            )

    def _confirm(self, question: str, then: Callable[[], None]) -> None:
        self._mode, self._question, self._confirmed = "confirm", question, then

    def _ask(self, what: Callable[[], None]) -> None:
        self._asked.append(self._asks.submit(what))

    # --- a log --------------------------------------------------------------------------------------------------

    def _open_log(self) -> None:
        job = self._job
        if job is None:
            self._tell("choose a job first", is_bad=True)
        elif job.log is None:
            self._tell(f"the output of job {job.id} is discarded", is_bad=True)
        else:
            self._mode, self._scrolled, self._read_at = "log", None, 0.0
            self._log = job, []

    def _log_page(self, width: int, height: int) -> list[Line]:
        assert self._log is not None
        job, lines = self._log
        if time.monotonic() - self._read_at > REFRESH:
            lines = self._read_log(job, width)
            self._log, self._read_at = (job, lines), time.monotonic()
        rows = max(1, height - 2)
        last = max(0, len(lines) - rows)
        first = last if self._scrolled is None else max(0, min(self._scrolled, last))
        where = f"  lines {first + 1:,} to {min(first + rows, len(lines)):,} of {len(lines):,}" if lines else ""
        shown = [Line.of(line) for line in lines[first : first + rows]]
        head = Line.of((f"job {job.id}", "strong"), (f"{where}  {job.log}", "faint"))
        return [head, *shown, *([Line.of()] * (rows - len(shown))), Line.of((_LOG_KEYS, "faint"))]

    def _read_log(self, job: JobView, width: int) -> list[str]:
        try:
            return text_of(self._cluster.log(job.log or ""), width)
        except FileNotFoundError:
            return ["It has printed nothing yet."]
        except (OSError, CorralError) as error:
            return [str(error)]

    def _scroll(self, key: str) -> None:
        assert self._log is not None
        rows = max(1, self._display.size[1] - 2)
        last = max(0, len(self._log[1]) - rows)
        at = last if self._scrolled is None else min(self._scrolled, last)
        moves = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -rows, "page down": rows, " ": rows, "home": -last}
        if key in ("q", "escape", "l"):
            self._mode, self._log = "list", None
        elif key in ("end", "G"):
            self._scrolled = None
        elif key in moves:
            to = max(0, at + moves[key])
            # At its end, what comes is followed.
            self._scrolled = None if to >= last else to
