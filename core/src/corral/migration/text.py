"""The text of a program by the positions that its syntax tree has, and what is to be changed in it."""

from __future__ import annotations

import ast
from typing import Protocol

from attrs import define, field


class _Placed(Protocol):
    lineno: int
    col_offset: int
    end_lineno: int | None
    end_col_offset: int | None


@define
class Text:
    """A program's text, with changes that do not overlap."""

    text: str
    _changes: list[tuple[int, int, str]] = field(factory=list, init=False)
    _lines: list[bytes] = field(init=False)
    _starts: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Columns of a syntax tree are bytes.
        self._lines = self.text.encode().splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def of(self, node: _Placed) -> str:
        """What stands there."""
        start, end = self._span(node)
        return self.text.encode()[start:end].decode()

    def replace(self, node: _Placed, text: str) -> None:
        self._changes.append((*self._span(node), text))

    def insert_line(self, number: int, text: str) -> None:
        """Put a line of its own before this one."""
        start = self._starts[number - 1]
        self._changes.append((start, start, f"{text}\n"))

    def indent(self, number: int) -> str:
        """The blanks at the beginning of a line."""
        line = self._lines[number - 1].decode()
        return line[: len(line) - len(line.lstrip(" \t"))]

    def is_first(self, node: ast.AST) -> bool:
        """True if nothing but blanks stands before it on its line."""
        line = self._lines[node.lineno - 1]  # type: ignore[attr-defined]
        return not line[: node.col_offset].strip()  # type: ignore[attr-defined]

    def changed(self) -> str:
        """The text with all changes."""
        found = self.text.encode()
        for start, end, text in sorted(self._changes, reverse=True):
            found = found[:start] + text.encode() + found[end:]
        return found.decode()

    def _span(self, node: _Placed) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )
