"""Lines and tables for people: rich in a terminal, plain columns elsewhere; text of others as it may be shown."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence

import click

from corral.text.printable import printable, printable_lines


def say(text: str, *, err: bool = False) -> None:
    """Print lines."""
    click.echo(printable_lines(text), err=err)


def say_json(value: object) -> None:
    """Print one JSON document on a line, for programs: any text is escaped, and what is no number there is null."""
    click.echo(json.dumps(_finite(value), allow_nan=False, default=str))


def _finite(value: object) -> object:
    """The same, without the numbers that JSON does not have, and with texts for keys."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_finite(each) for each in value]
    return value


def show_file(raw: bytes) -> None:
    """Print what a job has written: as it is for a program that reads it, for a terminal so that it is not obeyed."""
    text = raw.decode(errors="replace")
    if sys.stdout.isatty():
        click.echo(printable_lines(text), nl=False)
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(text)


def show(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[str] = ()) -> None:
    """Print rows under a head. Text from elsewhere is never taken for markup.

    Parameters
    ----------
    numbers
        Heads of columns that hold numbers: their last digits are below each other.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in head:
            table.add_column(title, justify="right" if title in numbers else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if title in numbers else cell.ljust(width)
            for cell, width, title in zip(row, widths, head, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())
