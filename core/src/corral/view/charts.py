"""Pictures of a cluster as SVG: its jobs, its workers, how long jobs waited, and what was used. Pure.

Colours are classes (`class_of`), for which the page has a style sheet. All text is escaped by `element`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from corral.errors import counted
from corral.view.amounts import cut, duration, elapsed, hours
from corral.view.colours import END, PHASE, USE
from corral.view.elements import Markup, element, joined
from corral.view.journal import Sample
from corral.view.overview import USES, JobView
from corral.view.spans import by_group, quantile, spans_of

#: Of a picture, and of its left part, which has names (px).
WIDTH, NAMES = 960.0, 130.0
_RIGHT = 12.0
#: So many jobs are drawn, at most; by how many there are, how high a row is (px).
MOST = 400
_HEIGHTS = ((30, 18.0), (60, 12.0), (150, 6.0), (300, 4.0), (MOST, 2.5))
#: Rows that are as high have names.
_NAMED = 12.0
#: Marks of an axis (s): one of these is between two of them.
_STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
)  # fmt: skip
_MARKS = 8
#: Of the axis of waits (s), which grows by factors.
_WAIT_MARKS = (1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)
#: So many points of a curve are drawn, and waits of a group.
_POINTS, _WAITS = 1200, 300


def class_of(kind: str, word: str) -> str:
    """The class with the colour of a phase, an end or a use; of words that are not known that of text."""
    table: Mapping[str, object] = {"phase": PHASE, "end": END, "use": USE}[kind]
    return f"{kind}-{word.replace(' ', '-') or 'wanted'}" if word in table else "ink"


@frozen
class _Time:
    """The axis of time."""

    begin: float
    end: float

    @property
    def length(self) -> float:
        return max(1.0, self.end - self.begin)

    def x(self, moment: float) -> float:
        share = min(1.0, max(0.0, (moment - self.begin) / self.length))
        return NAMES + share * (WIDTH - NAMES - _RIGHT)

    def drawn(self, height: float) -> Markup:
        """Lines from top to bottom, each with how long after the beginning it is."""
        step = float(next((each for each in _STEPS if self.length / each <= _MARKS), _STEPS[-1]))
        while self.length / step > _MARKS:
            step *= 2
        marks = [number * step for number in range(math.floor(self.length / step) + 1)]
        return joined(
            joined(
                (
                    element("line", x1=x, x2=x, y1=0, y2=height, class_="grid"),
                    element("text", elapsed(mark), x=x, y=height + 14, class_="mark", text_anchor=_anchor(x)),
                )
            )
            for mark in marks
            for x in (self.x(self.begin + mark),)
        )


def _anchor(x: float) -> str:
    return "end" if x > WIDTH - 40 else "middle"


def _picture(height: float, title: str, *parts: Markup) -> Markup:
    svg = element(
        "svg", element("title", title), *parts, viewBox=f"0 0 {WIDTH:g} {height:.0f}", role="img", aria_label=title
    )
    return element("div", svg, class_="wide")


# --- jobs -------------------------------------------------------------------------------------------------------


def jobs_chart(jobs: Sequence[JobView], began: float, now: float) -> tuple[Markup, str]:
    """A row for each job, from when it was submitted until it ended; and what of them is left out, in words.

    Parameters
    ----------
    began, now
        The ends of the axis (s since the epoch).
    """
    drawn, left_out = chosen(jobs)
    height = next(height for most, height in _HEIGHTS if len(drawn) <= most)
    axis = _Time(min([began, *(job.submitted for job in drawn)]), now)
    rows, y = [], 4.0
    for group, mine in by_group(drawn).items():
        title = f"{cut(group, 60)}: {counted(len(mine), 'job')}"
        rows.append(element("text", title, x=0, y=y + 12, class_="name"))
        y += 18
        for job in mine:
            rows.append(_row(job, axis, y, height))
            y += height
        y += 6
    title = f"{counted(len(drawn), 'job')} over time, from submission to end"
    return _picture(y + 20, title, axis.drawn(y), *rows), left_out


def chosen(jobs: Sequence[JobView]) -> tuple[list[JobView], str]:
    """Those that are drawn, and in words which are not: failed ones go first, of the others every so many is one."""
    if len(jobs) <= MOST:
        return list(jobs), ""
    failed = [job for job in jobs if job.has_failed]
    others = [job for job in jobs if not job.has_failed]
    some = _spread(failed, MOST // 2)
    rest = _spread(others, MOST - len(some))
    which = f"the {len(some):,} that failed" if len(some) == len(failed) else f"{len(some):,} of {len(failed):,} failed"
    if not failed:
        which = "none failed"
    drawn = sorted([*some, *rest], key=lambda job: job.submitted)
    told = f"{len(drawn):,} of {len(jobs):,} jobs are drawn: {which}, and {len(rest):,} of the {len(others):,} others"
    return drawn, f"{told}, evenly chosen."


def _spread(jobs: Sequence[JobView], most: int) -> list[JobView]:
    if len(jobs) <= most:
        return list(jobs)
    return [jobs[number * len(jobs) // most] for number in range(most)]


def _row(job: JobView, axis: _Time, y: float, height: float) -> Markup:
    thick = max(1.5, height - (4 if height >= _NAMED else 1 if height >= 4 else 0.5))
    spans = spans_of(job, axis.end)
    bars = [
        element(
            "rect",
            x=axis.x(span.begin),
            y=y,
            width=max(0.5, axis.x(span.end) - axis.x(span.begin)),
            height=thick,
            class_=class_of("phase", span.phase),
        )
        for span in spans
    ]
    if job.phase == "ended" and job.ended is not None:
        wide = 5.0 if job.has_failed else 3.0
        x = max(axis.x(job.submitted), axis.x(job.ended) - wide)
        bars.append(element("rect", x=x, y=y, width=wide, height=thick, class_=class_of("end", job.outcome)))
    name = element("text", cut(job.id, 18), x=8, y=y + thick - 2, class_="mark") if height >= _NAMED else None
    return element("g", element("title", said_of(job, axis.end)), name, *bars)


def said_of(job: JobView, now: float) -> str:
    """What became of a job, in a line."""
    parts = [f"{span.phase} {duration(span.end - span.begin)}" for span in spans_of(job, now)]
    how = job.why if job.phase == "ended" else job.condition
    return f"job {cut(job.id, 60)}: {', '.join(parts) or job.phase}; {cut(how, 200)}"


# --- workers ----------------------------------------------------------------------------------------------------


def workers_chart(samples: Sequence[Sample], began: float, now: float, *, has_wanted: bool = True) -> Markup:
    """How many workers there were, as an area, and how many were wanted, as a line."""
    axis, high = _Time(began, now), 160.0
    top = max([1, *(each.workers for each in samples), *(each.wanted for each in samples if has_wanted)])
    step = _whole_step(top)
    top = math.ceil(top / step) * step

    def y(number: float) -> float:
        return 8 + high * (1 - number / top)

    grid = [
        joined(
            (
                element("line", x1=NAMES, x2=WIDTH - _RIGHT, y1=y(number), y2=y(number), class_="grid"),
                element("text", f"{number:,}", x=NAMES - 6, y=y(number) + 4, class_="mark", text_anchor="end"),
            )
        )
        for number in range(0, top + 1, step)
    ]
    workers = _steps([(each.moment, each.workers) for each in samples], axis, y, now)
    area = f"{workers} L {axis.x(now):.1f} {y(0):.1f} L {axis.x(samples[0].moment):.1f} {y(0):.1f} Z" if samples else ""
    parts = [element("path", d=area, class_="workers")] if area else []
    if has_wanted and samples:
        parts.append(element("path", d=_steps([(s.moment, s.wanted) for s in samples], axis, y, now), class_="wanted"))
    return _picture(high + 32, "Workers over time", axis.drawn(high + 8), *grid, *parts)


def _steps(points: Sequence[tuple[float, float]], axis: _Time, y: Callable[[float], float], now: float) -> str:
    """A line that stays where it is until it changes."""
    drawn, before = [], None
    for moment, number in thinned(points):
        x = f"{axis.x(moment):.1f}"
        drawn.append(f"M {x} {y(number):.1f}" if before is None else f"L {x} {before} L {x} {y(number):.1f}")
        before = f"{y(number):.1f}"
    return " ".join([*drawn, f"L {axis.x(now):.1f} {before}"])


def thinned(points: Sequence[tuple[float, float]], most: int = _POINTS) -> list[tuple[float, float]]:
    """No more points than can be seen: of each run of them the first, the lowest, the highest and the last."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(4 * len(points) / most)
    found: list[tuple[float, float]] = []
    for at in range(0, len(points), size):
        run = points[at : at + size]
        picked = {0, len(run) - 1}
        picked |= {min(range(len(run)), key=lambda i: run[i][1]), max(range(len(run)), key=lambda i: run[i][1])}
        found += [run[i] for i in sorted(picked)]
    return found


def _whole_step(top: int) -> int:
    """Between two marks of an axis up to `top`: 1, 2 or 5 of some power of ten, and four marks or so."""
    power = int(10 ** max(0, math.floor(math.log10(max(1, top / 4)))))
    return next((power * each for each in (1, 2, 5) if top / (power * each) <= 5), power * 10)


# --- waits ------------------------------------------------------------------------------------------------------


def waits_chart(waits: Mapping[str, Sequence[float]]) -> Markup:
    """By group, how long each job waited (s, sorted), on an axis on which each mark is some times the one before."""
    longest = max([10.0, *(values[-1] for values in waits.values() if values)])
    marks = [mark for at, mark in enumerate(_WAIT_MARKS) if not at or _WAIT_MARKS[at - 1] < longest]
    far = max(marks[-1], longest)

    def x(seconds: float) -> float:
        share = math.log10(max(1.0, seconds)) / math.log10(far)
        return NAMES + share * (WIDTH - NAMES - 60)

    rows, y = [], 6.0
    for group, values in waits.items():
        shown = [values[at * len(values) // _WAITS] for at in range(_WAITS)] if len(values) > _WAITS else values
        ticks = [element("rect", x=x(each) - 1, y=y, width=2, height=14, class_="wait") for each in shown]
        middle = quantile(values, 0.5)
        if middle is not None:
            ticks.append(element("rect", x=x(middle) - 2, y=y - 3, width=4, height=20, class_="median"))
        rows.append(element("text", cut(group, 16), x=0, y=y + 11, class_="name"))
        said = f"{group}: half within {duration(middle)}, the longest {duration(values[-1] if values else None)}"
        rows.append(element("g", element("title", said), *ticks))
        y += 28
    grid = [
        joined(
            (
                element("line", x1=x(mark), x2=x(mark), y1=0, y2=y, class_="grid"),
                element("text", duration(mark), x=x(mark), y=y + 14, class_="mark", text_anchor="middle"),
            )
        )
        for mark in marks
    ]
    return _picture(y + 20, "How long jobs waited, by group", *grid, *rows)


# --- hours ------------------------------------------------------------------------------------------------------


def hours_chart(unit: str, groups: Mapping[str, Mapping[str, float]]) -> Markup:
    """By group, what hours were used for, side by side; the longest bar is the group that used most."""
    most = max([1e-9, *(sum(used.values()) for used in groups.values())])
    scale = (WIDTH - NAMES - 90) / most
    rows, y = [], 4.0
    for group, used in groups.items():
        x = NAMES
        rows.append(element("text", cut(group, 16), x=0, y=y + 13, class_="name"))
        for use in USES:
            width = used.get(use, 0.0) * scale
            if width > 0:
                said = element("title", f"{use}: {hours(used[use])} {unit}")
                rows.append(element("rect", said, x=x, y=y, width=width, height=18, class_=class_of("use", use)))
            x += width
        rows.append(element("text", hours(sum(used.values())), x=x + 6, y=y + 13, class_="mark"))
        y += 26
    return _picture(y, f"{unit} by group and use", *rows)


def legend(kind: str, words: Iterable[tuple[str, str]]) -> Markup:
    """What the colours mean: words that have one, each with what is said beside it."""
    return element(
        "ul",
        *(element("li", element("span", class_=f"swatch {class_of(kind, word)}"), said) for word, said in words),
        class_="legend",
    )
