"""Notebooks: their code as one program, cell after cell, and each cell's lines back in their place."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from attrs import evolve

from corral.errors import InvalidRequest
from corral.migration.program import migrate_program
from corral.migration.values import Migrated, Remark

#: Lines that IPython understands and Python does not: ``%time``, ``!pip``, ``?help``, ``help?``.
_MAGIC = re.compile(r"^\s*([%!?]|\w+(\.\w+)*\?{1,2}\s*$|\w+\s*=\s*[!%])")
#: What stands for one of them, and for the border of two cells, while the whole is Python.
_HIDDEN, _BORDER = "pass  # corral hides: ", "# corral: the next cell"


def migrate_notebook(text: str, name: str) -> Migrated | None:
    """A notebook in corral's words; None if it has nothing of dask-jobqueue's or dask-mpi's.

    Raises
    ------
    InvalidRequest
        It is no notebook, or a cell is not Python.
    """
    try:
        notebook = json.loads(text)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = [_source(cell) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest("FILE", f"{name} is not a notebook of nbformat 4: {error!r}. Save it again") from None
    numbers = [number for number, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == "code"]
    hidden = [_hidden(source) for source in sources]
    lines: list[str] = []
    places: list[str] = []
    for number, source in zip(numbers, hidden, strict=True):
        own = source.split("\n")
        places += [f"{name}: cell {number}, line {line}" for line in range(1, len(own) + 1)] + [name]
        lines += [*own, _BORDER]
    migrated = migrate_program("\n".join(lines), lambda line: places[min(line, len(places)) - 1])
    if migrated is None:
        return None
    remarks = [
        Remark(place=f"{name}: cell {number}", said="this cell is not Python, and stays as it is", is_lost=True)
        for number, source, shown in zip(numbers, sources, hidden, strict=True)
        if shown != source and _is_hidden(shown) and not source.lstrip().startswith("%%") and source.strip()
    ]
    parts = migrated.text.split(f"\n{_BORDER}")
    for cell, part, before in zip(cells, parts, hidden, strict=False):
        source = part.removeprefix("\n")
        if source != before:
            _write(cell, _shown(source))
    written = json.dumps(notebook, indent=_indent(text), ensure_ascii=False)
    return evolve(migrated, text=f"{written}\n", remarks=[*migrated.remarks, *remarks])


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _write(cell: dict[str, Any], source: str) -> None:
    cell["source"] = source if isinstance(cell["source"], str) else source.splitlines(keepends=True)


def _indent(text: str) -> int:
    """How deep the notebook's own JSON is indented."""
    match = re.search(r"\n( +)\S", text)
    return len(match[1]) if match else 1


def _hidden(source: str) -> str:
    """A cell's code as Python that has as many lines; a cell in another language is hidden as a whole."""
    lines = source.split("\n")
    first = next((line for line in lines if line.strip()), "")
    is_other = first.startswith("%%") and not re.match(r"%%(time|timeit|capture|prun)\b", first)
    found = [_HIDDEN + line if is_other else _without_magic(line) for line in lines]
    whole = "\n".join(found)
    try:
        ast.parse(whole)
    except (SyntaxError, ValueError):
        # Of no use as it is, but no reason not to read the others.
        return "\n".join(f"{_HIDDEN}{line}" for line in lines)
    return whole


def _without_magic(line: str) -> str:
    bare = line.lstrip()
    return f"{line[: len(line) - len(bare)]}{_HIDDEN}{bare}" if _MAGIC.match(line) else line


def _is_hidden(source: str) -> bool:
    return all(line.startswith(_HIDDEN) for line in source.split("\n"))


def _shown(source: str) -> str:
    return source.replace(_HIDDEN, "")
