"""What READMEs say of backends' options, made from what these declare.

``python tests/plugins/option_tables.py`` writes the tables; a test compares. docs/_ext makes pages of these
READMEs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from corral.plugin import discovery
from corral.plugin.discovery import Installed
from corral.plugin.options import DeclaredOption

ROOT = Path(__file__).parents[2]

BEGIN, END = "<!-- made by the code: options -->\n", "<!-- end of options -->"


def backends() -> list[Installed]:
    """Those of this repository."""
    return [each for each in discovery.usable("backend") if _table(each).is_file()]


def pages() -> Iterator[tuple[Path, str]]:
    """Every file that is made, or has a table that is, as it should be."""
    for backend in backends():
        path = _table(backend)
        head, found, rest = path.read_text().partition(BEGIN)
        assert found, f"{path} has no {BEGIN}"
        yield path, head + found + "\n".join(rows(backend.options)) + "\n" + END + rest.partition(END)[2]


def rows(options: list[DeclaredOption]) -> Iterator[str]:
    """A table in Markdown."""
    yield "| option | values | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for option in options:
        cells = [f"`{option.name}`", _code(option.values), _code(option.usual), option.help]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _table(backend: Installed) -> Path:
    readme = ROOT / "plugins" / backend.name / "README.md"
    return readme if readme.is_file() else ROOT / f"core/src/corral/{backend.name}/README.md"


def _code(words: str) -> str:
    """Values as code."""
    return re.sub(r"('[^']*'|\b(?:True|False)\b|^\d+$)", r"`\1`", words)


if __name__ == "__main__":
    for path, text in list(pages()):
        path.write_text(text)
