"""What pages say of backends, made from what these declare: tables of their options, and docs/backends.

``python tests/plugins/option_tables.py`` writes them; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from corral.plugin import discovery
from corral.plugin.discovery import Installed
from corral.plugin.options import DeclaredOption

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/backends"

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
        if path.parent != DOCS:
            yield DOCS / f"{backend.name}.md", page(backend)


def rows(options: list[DeclaredOption]) -> Iterator[str]:
    """A table in Markdown."""
    yield "| option | values | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for option in options:
        cells = [f"`{option.name}`", _code(option.values), _code(option.usual), option.help]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page(backend: Installed) -> str:
    """The page of a backend, most of which its README says."""
    facts = backend.facts
    return (
        f"# {facts.title}\n\n"
        f"[{facts.title}]({facts.url}), by the plugin `{backend.distribution}`. Run for real against: {facts.tried}.\n"
        f"Where it is installed, `corral backends {backend.name}` says the same, and what the plugin looks for.\n\n"
        f"```{{include}} ../../plugins/{backend.name}/README.md\n:start-after: batch systems.\n```\n"
    )


def _table(backend: Installed) -> Path:
    readme = ROOT / "plugins" / backend.name / "README.md"
    return readme if readme.is_file() else DOCS / f"{backend.name}.md"


def _code(words: str) -> str:
    """Values as code."""
    return re.sub(r"('[^']*'|\b(?:True|False)\b|^\d+$)", r"`\1`", words)


if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    for path, text in list(pages()):
        path.write_text(text)
