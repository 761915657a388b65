"""Core-hours and GPU-hours in HTML: by group, and by what they were used for."""

from __future__ import annotations

from collections.abc import Mapping

from corral.text.printable import html
from corral.view.amounts import hours
from corral.view.markup import bar, table
from corral.view.overview import USES


def hours_html(unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each group, with a bar, and one for all of them.

    Parameters
    ----------
    unit
        ``core-hours`` or ``GPU-hours``.
    groups
        By group, hours by use: one entry for each of `USES`.
    """
    rows = [_row(html(name), used) for name, used in groups.items()]
    if len(groups) > 1:
        rows.append(_row("all", {use: sum(used[use] for used in groups.values()) for use in USES}))
    dots = tuple(f"{use}" for use in USES)
    return table((unit, "", *dots, "total"), rows, numbers=range(2, len(USES) + 3))


def _row(name: str, used: Mapping[str, float]) -> list[str]:
    cells = [
        f'<span class="corral-dot corral-is-use-{use}"></span>{hours(used[use])}' if used[use] else "0" for use in USES
    ]
    return [name, bar({f"use-{use}": used[use] for use in USES}), *cells, hours(sum(used[use] for use in USES))]
