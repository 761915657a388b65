"""Columns of text that fit a width: what matters least is left out first."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from corral.text.printable import printable
from corral.view.lines import Line, Role

#: Between two columns, and the widest that one may be beside others (cells).
GAP, WIDEST = "  ", 28
#: Of the last one, so much is seen at least.
LEAST = 18


@frozen(kw_only=True)
class Column:
    """One column: its head, and how it is shown."""

    head: str
    is_number: bool = False
    #: Of columns that do not fit, the highest is left out first; 0: never.
    rank: int = 0
    role: Role = ""


@frozen
class Cell:
    """A text, and what it means if that differs from its column."""

    text: str
    role: Role | None = None


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], width: int | None
) -> tuple[Line, list[Line]]:
    """The head, and a line for each row.

    Parameters
    ----------
    width
        Cells; None: as many as it takes. The last column takes what is left of them, and is cut.
    """
    from rich.cells import cell_len

    cells = [[_harmless(each) for each in row] for row in rows]
    # What no row has is not shown.
    there = [at for at, column in enumerate(columns) if not column.rank or any(row[at].text for row in cells)]
    widest = [
        max([cell_len(columns[at].head), *(cell_len(row[at].text) for row in cells)]) for at in range(len(columns))
    ]
    if width is not None:
        widest = [min(each, WIDEST) for each in widest[:-1]] + widest[-1:]
        while sum(widest[at] + len(GAP) for at in there[:-1]) + min(widest[there[-1]], LEAST) > width:
            spare = max(there, key=lambda at: columns[at].rank)
            if not columns[spare].rank:
                break
            there.remove(spare)
    used = sum(widest[at] + len(GAP) for at in there[:-1])
    if width is not None and there:
        widest[there[-1]] = max(1, min(widest[there[-1]], width - used))

    def line(row: Sequence[Cell]) -> Line:
        parts: list[str | tuple[str, Role]] = []
        for at in there:
            column, cell = columns[at], row[at]
            text = fitted(cell.text, widest[at], is_number=column.is_number)
            is_last = at == there[-1]
            role = column.role if cell.role is None else cell.role
            parts += [(text.rstrip() if is_last and not column.is_number else text, role), "" if is_last else GAP]
        return Line.of(*parts)

    return line([Cell(column.head, "faint") for column in columns]), [line(row) for row in cells]


def _harmless(cell: str | Cell) -> Cell:
    return Cell(printable(cell)) if isinstance(cell, str) else Cell(printable(cell.text), cell.role)


def fitted(text: str, width: int, *, is_number: bool = False) -> str:
    """The text in exactly so many cells: cut, or filled up."""
    from rich.cells import cell_len, set_cell_size

    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    return " " * (width - length) + text if is_number else text + " " * (width - length)
