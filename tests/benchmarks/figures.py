"""What benchmarks measured, as tables for people: printed, and written into the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from attrs import define, field, frozen

#: The tables, by name: their titles and heads.
HEADS = {
    "beside": ("Beside dask-jobqueue", ("until", "corral", "dask-jobqueue", "times sooner", "goal")),
    "memory": ("Memory beside dask-jobqueue", ("of", "corral", "dask-jobqueue", "part", "goal")),
    "preimport": ("With preimport= and without", ("what", "with", "without", "times less")),
    "batch": ("Batch mode beside dask-mpi", ("until", "corral run", "dask-mpi", "times sooner", "goal")),
    "started": ("From the start of the job's script", ("until", "corral", "bare fork", "times as long", "goal")),
    "alone": ("By itself", ("what", "measured", "goal")),
}

_BETWEEN = re.compile(r"(?<=<!-- figures -->\n).*(?=<!-- end of figures -->)", re.DOTALL)


@frozen(kw_only=True)
class Goal:
    """A number to reach, or not to exceed."""

    limit: float
    is_least: bool

    def judged(self, value: float) -> str:
        """``at least 20: met``."""
        is_met = value >= self.limit if self.is_least else value <= self.limit
        return f"at {'least' if self.is_least else 'most'} {self.limit:g}: {'met' if is_met else '**missed**'}"


def at_least(limit: float) -> Goal:
    return Goal(limit=limit, is_least=True)


def at_most(limit: float) -> Goal:
    return Goal(limit=limit, is_least=False)


@define(kw_only=True)
class Figures:
    """The rows of each table, in the order in which they were measured."""

    tables: dict[str, list[Sequence[str]]] = field(factory=lambda: {name: [] for name in HEADS})

    def sooner(self, until: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None) -> None:
        """Compare with dask-jobqueue: seconds of each round."""
        self._compare("beside", until, ours, theirs, median(theirs) / median(ours), goal)

    def smaller(self, of: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None) -> None:
        """Compare with dask-jobqueue: megabytes in each round."""
        ratio = median(ours) / median(theirs)
        row = (of, megabytes(ours), megabytes(theirs), f"{ratio:.2f}", "" if goal is None else goal.judged(ratio))
        self.tables["memory"].append(row)

    def less_with_preimport(
        self, what: str, ours: Sequence[float], without: Sequence[float], shown: Callable[[Sequence[float]], str]
    ) -> None:
        """Compare with corral without ``preimport=``: seconds or megabytes of each round, and how to write them."""
        self.tables["preimport"].append((what, shown(ours), shown(without), f"{median(without) / median(ours):.2f}"))

    def sooner_in_batch(
        self, until: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None
    ) -> None:
        """Compare with dask-mpi: seconds of each round."""
        self._compare("batch", until, ours, theirs, median(theirs) / median(ours), goal)

    def as_long(self, until: str, ours: Sequence[float], bare: Sequence[float], goal: Goal | None = None) -> None:
        """Compare with a bare fork: seconds of each round."""
        self._compare("started", until, ours, bare, median(ours) / median(bare), goal)

    def alone(self, what: str, values: Sequence[float], unit: str, goal: Goal | None = None) -> None:
        """Record what has no contender."""
        value = median(values)
        extremes = f"{value:.3g} {unit} ({min(values):.3g} to {max(values):.3g})"
        self.tables["alone"].append((what, extremes, "" if goal is None else goal.judged(value)))

    def _compare(
        self, table: str, until: str, ours: Sequence[float], theirs: Sequence[float], ratio: float, goal: Goal | None
    ) -> None:
        row = (until, seconds(ours), seconds(theirs), f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}")
        self.tables[table].append((*row, "" if goal is None else goal.judged(ratio)))

    @property
    def is_empty(self) -> bool:
        return not any(self.tables.values())

    def markdown(self) -> str:
        """All tables that have rows."""
        parts = []
        for name, (title, head) in HEADS.items():
            if rows := self.tables[name]:
                parts += [f"## {title}", "", *_lines([head, ["---"] * len(head), *rows]), ""]
        return "\n".join(parts)


def seconds(values: Sequence[float]) -> str:
    """The median, and in brackets the extremes: ``1.24 s (1.20 to 1.93)``."""
    middle = median(values)
    places = 3 if middle < 0.1 else 2
    text = f"{middle:.{places}f} s"
    return text if len(values) == 1 else f"{text} ({min(values):.{places}f} to {max(values):.{places}f})"


def megabytes(values: Sequence[float]) -> str:
    """The median, and in brackets the extremes: ``342 MB (340 to 351)``."""
    text = f"{median(values):,.0f} MB"
    return text if len(values) == 1 else f"{text} ({min(values):,.0f} to {max(values):,.0f})"


def _lines(rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


def write_page(page: Path, text: str) -> None:
    """Replace what stands between the page's two marks."""
    before = page.read_text()
    after, count = _BETWEEN.subn(lambda _: f"\n{text}\n", before)
    if count != 1:
        raise ValueError(f"{page} has not one pair of marks")
    page.write_text(after)
