"""Lines for people, made of an overview: what waits, why, since when, and what fails.

A line knows what its parts mean, not how they look: whoever shows it does, in a terminal, a notebook or a plain file.
Text from elsewhere is escaped here, once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from corral.errors import counted
from corral.text.durations import in_words
from corral.text.printable import html, printable
from corral.view.overview import PHASES, FailureView, GroupView, Overview

if TYPE_CHECKING:
    from rich.text import Text

#: What a part of a line means: nothing in particular, the subject, what is less important, what goes well, what is
#: under way, what is wrong, and what is chosen.
Role = Literal["", "strong", "faint", "good", "busy", "bad", "chosen"]
#: How that looks in a terminal, in its own sixteen colours, which suit its background.
_STYLES = {
    "": "", "strong": "bold", "faint": "dim", "good": "green", "busy": "yellow", "bad": "red", "chosen": "reverse",
}  # fmt: skip
#: And on a page: legible on white and on black.
_CSS = {
    "": "", "strong": "font-weight:bold", "faint": "opacity:.7", "good": "color:#2e8b57", "busy": "color:#b8860b",
    "bad": "color:#d9534f", "chosen": "font-weight:bold",
}  # fmt: skip
#: What each phase of jobs is to people.
ROLES: dict[str, Role] = {
    "waiting": "busy", "starting": "busy", "working": "good", "draining": "faint", "cancelling": "faint",
    "ended": "faint",
}  # fmt: skip
#: Cells of the bar that says how many workers are here.
BAR = 24


@frozen
class Line:
    """One line: texts, each with what it means."""

    parts: tuple[tuple[str, Role], ...]

    @classmethod
    def of(cls, *parts: str | tuple[str, Role]) -> Line:
        """A line of these parts; those without a role mean nothing in particular."""
        pairs: list[tuple[str, Role]] = [(part, "") if isinstance(part, str) else part for part in parts]
        return cls(tuple((printable(text), role) for text, role in pairs if text))

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts)

    def cut(self, width: int) -> Line:
        """The line in at most so many cells of a terminal."""
        from rich.cells import cell_len, set_cell_size

        if cell_len(str(self)) <= width:
            return self
        found: list[tuple[str, Role]] = []
        left = width - 1
        for text, role in self.parts:
            text = text if cell_len(text) <= left else set_cell_size(text, left)  # noqa: PLW2901 - the same text, cut
            found.append((text, role))
            left -= cell_len(text)
        return Line((*found, ("…", "faint")))

    def rich(self) -> Text:
        """For a terminal, whatever is in it never taken for markup."""
        from rich.text import Text  # not before somebody looks

        return Text.assemble(*((text, _STYLES[role]) for text, role in self.parts))


def page_of(lines: Iterable[Line]) -> str:
    """The lines as HTML."""
    rows = ("".join(f'<span style="{_CSS[role]}">{html(text)}</span>' for text, role in line.parts) for line in lines)
    text = "\n".join(rows)
    return f'<pre style="white-space:pre-wrap;margin:0">{text}</pre>'


# --- waiting for workers ----------------------------------------------------------------------------------------


def waiting(overview: Overview, goal: int, began: float) -> list[Line]:
    """How a wait for workers goes, in a few lines.

    Parameters
    ----------
    goal
        How many workers somebody waits for.
    began
        When that began (s since the epoch).
    """
    since = roughly(overview.moment - began)
    found = [
        Line.of(
            (overview.name, "strong"), "  ", *bar(overview.workers, goal), f" {overview.workers:,} of {goal:,} workers",
            (f"  waiting for {since}", "faint"),
        )
    ]  # fmt: skip
    for group in overview.groups:
        if group.living or group.wanted or group.trouble:
            found += _group(group, overview.moment, is_named=len(overview.groups) > 1)
    failures = [each for each in overview.failures if each.moment >= began]
    if failures:
        more = f"  and {counted(len(failures) - 1, 'failure')} before it" if len(failures) > 1 else ""
        found.append(Line.of("  ", failed(failures[-1]).parts[0], (more, "faint")))
    return found


def in_one(overview: Overview, goal: int) -> Line:
    """The same in one line, for logs."""
    groups = "; ".join(
        ("" if len(overview.groups) == 1 else f"{group.name}: ")
        + "; ".join(map(str, _standing(group, overview.moment)))
        for group in overview.groups
        if group.living or group.wanted or group.trouble
    )
    return Line.of(f"{overview.name}: {overview.workers:,} of {goal:,} workers are here; {groups or 'none is wanted'}")


def arrived(name: str, workers: int, seconds: float) -> Line:
    """How a wait ended well."""
    are = "worker is" if workers == 1 else "workers are"
    return Line.of((name, "strong"), f": {workers:,} {are} here after {roughly(seconds)}")


def failed(failure: FailureView) -> Line:
    """One failure, with its cause and what usually helps."""
    what = f"worker {failure.worker}" if failure.worker else f"job {failure.job}"
    hint = f". {failure.hint}" if failure.hint else ""
    return Line.of((f"{what}: {failure.cause}{hint}", "bad"))


def bar(part: int, whole: int, cells: int = BAR) -> list[tuple[str, Role]]:
    """How much of something is here."""
    full = cells if part >= whole else min(cells - 1, part * cells // max(1, whole))
    return [("━" * full, "good"), ("─" * (cells - full), "faint")]


# --- one group --------------------------------------------------------------------------------------------------


def _group(group: GroupView, now: float, *, is_named: bool) -> list[Line]:
    first, *rest = _standing(group, now)
    name: list[tuple[str, Role]] = [(f"{group.name}: ", "strong")] if is_named else []
    return [Line.of("  ", *name, *first.parts), *(Line.of("    ", *line.parts) for line in rest)]


def _standing(group: GroupView, now: float) -> list[Line]:
    """How many jobs are in which phase, since when they wait, and what is said of that."""
    parts: list[str | tuple[str, Role]] = []
    for phase, count in phases(group):
        parts += [", " if parts else "jobs: ", (f"{count:,} {phase}", ROLES[phase])]
        if phase == "waiting":
            parts.append((since(group, now), "faint"))
    if group.unsubmitted:
        parts += [", " if parts else "jobs: ", (f"{group.unsubmitted:,} not submitted yet", "busy")]
    found = [Line.of(*parts) if parts else Line.of("no job is in the queue")]
    if start := expected(group.expected_start, now):
        found.append(Line.of(f"the first is expected to start {start}"))
    if group.waiting:
        found.append(Line.of(group.waiting))
    if group.trouble:
        found.append(Line.of((group.trouble, "bad")))
    return found


def phases(group: GroupView) -> Sequence[tuple[str, int]]:
    """The phases in which it has jobs, and how many."""
    return [(phase, count) for phase in PHASES if (count := group.jobs[phase])]


def since(group: GroupView, now: float) -> str:
    """`` for 12 min (Resources)``: how long its jobs wait, and why in the batch system's word."""
    words = "" if group.waiting_since is None else f" for {roughly(now - group.waiting_since)}"
    reasons = ", ".join(reason for reason, _ in group.reasons[:3])
    return f"{words} ({reasons})" if reasons else words


def expected(start: float | None, now: float) -> str:
    """``at 14:30, in 2 h``; empty: nobody says."""
    if start is None:
        return ""
    if start <= now:
        return f"now (it was to be at {clock(start, now)})"
    return f"at {clock(start, now)}, in {roughly(start - now)}"


def roughly(seconds: float) -> str:
    """``40 s``, ``59 min``, ``1.5 h``: in whole minutes, as it is looked at again and again."""
    return in_words(seconds // 60 * 60 if 60 <= seconds < 3600 else max(0.0, seconds))


def clock(moment: float, now: float) -> str:
    """``14:30``, with a day where it is not today's."""
    then, today = time.localtime(moment), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%a %H:%M" if abs(moment - now) < 6 * 86_400 else "%Y-%m-%d %H:%M", then)
