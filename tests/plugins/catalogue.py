"""The page of the catalogue, made from docs/catalogue.yaml; and what an entry there may say.

``python tests/plugins/catalogue.py`` writes the page; a test compares.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from corral.errors import did_you_mean

ROOT = Path(__file__).parents[2]
SOURCE, PAGE = ROOT / "docs/catalogue.yaml", ROOT / "docs/catalogue.md"

#: The status of an entry, and what it means.
STATUS = {
    "maintained": "somebody answers, and tries it on new versions",
    "from documentation": "written from what is published; nobody has run it on the real thing",
    "experimental": "it has run, and may change",
    "looking for a maintainer": "it works, and nobody looks after it",
    "example": "for its pattern alone",
}
#: What an entry says, and whether it must. What is in this repository says the title, the batch system and what it was
#: tried on itself.
KEYS = {"name": True, "distribution": True, "where": True, "maintainer": True, "status": True}
OF_OTHERS = {"title": True, "tried": True, "backend": False}
KINDS = {"backends": "backend", "sites": "site"}


def entries(text: str) -> dict[str, list[dict[str, Any]]]:
    """What is written, by kind."""
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(text)
    return found


def problems(written: Any) -> Iterator[str]:
    """Everything that is wrong with it, in words for whoever has added a few lines."""
    if not isinstance(written, Mapping) or list(written) != list(KINDS):
        yield "the file has two lists: backends, and sites"
        return
    for kind, listed in written.items():
        if not isinstance(listed, list) or not all(isinstance(each, Mapping) and each.get("name") for each in listed):
            yield f"{kind}: each entry begins with - name:"
            continue
        names = [str(each["name"]) for each in listed]
        if names != sorted(names):
            first = next(name for name, other in zip(names, sorted(names), strict=True) if name != other)
            yield f"{kind}: {first} is not in its place: the names are in the order of the alphabet"
        yield from (f"{kind}: {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)
        for each in listed:
            yield from (f"{kind}: {each['name']}: {problem}" for problem in _of_one(each, kind))


def _of_one(entry: Mapping[str, Any], kind: str) -> Iterator[str]:
    keys = {**KEYS, **({} if is_ours(entry) else OF_OTHERS)}
    for key, value in entry.items():
        if key not in keys:
            why = " It is in this repository, and says that itself" if key in OF_OTHERS else did_you_mean(key, keys)
            yield f"there is no {key}:{why or ' ' + ', '.join(keys)}"
        elif not isinstance(value, str) or not value.strip() or "\n" in value.strip():
            yield f"{key}: {value!r} is not a line of text; put it in quotes"
    if missing := [key for key, must in keys.items() if must and key not in entry]:
        yield f"{missing[0]}: is missing"
        return
    if not is_ours(entry) and kind == "sites" and "backend" not in entry:
        yield "backend: is missing: the batch system of the site"
    if entry["status"] not in STATUS:
        yield f"status: {entry['status']!r} is none of {', '.join(STATUS)}.{did_you_mean(entry['status'], STATUS)}"
    if not is_ours(entry) and not re.fullmatch(r"https://[\w.-]+/\S*", entry["where"]):
        yield f"where: {entry['where']!r} is neither an address that begins with https:// nor a folder of corral's"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry["distribution"]):
        yield f"distribution: {entry['distribution']!r} is no name that pip takes: lower case, digits and dashes"


def is_ours(entry: Mapping[str, Any]) -> bool:
    """Whether it is in this repository."""
    return (ROOT / str(entry.get("where")) / "pyproject.toml").is_file()


def ours() -> Iterator[tuple[str, str, str, str]]:
    """What is in this repository: the kind, the names of one plugin, its distribution and folder."""
    for path in [
        ROOT / "core/pyproject.toml",
        *ROOT.glob("plugins/*/pyproject.toml"),
        *ROOT.glob("contrib/*/pyproject.toml"),
    ]:
        project = tomllib.loads(path.read_text())["project"]
        for kind in KINDS:
            for name in project.get("entry-points", {}).get(f"corral.{kind}.v1", {}):
                yield kind, name, project["name"], str(path.parent.relative_to(ROOT))


def row(kind: str, entry: Mapping[str, Any]) -> str:
    """One line of the table."""
    if is_ours(entry):
        project = tomllib.loads((ROOT / entry["where"] / "pyproject.toml").read_text())["project"]
        module, _, attribute = project["entry-points"][f"corral.{kind}.v1"][entry["name"]].partition(":")
        plugin = getattr(importlib.import_module(module), attribute)
        facts = plugin.facts
        title, system = facts.title, getattr(plugin, "backend", "")
        tried = facts.tried if kind == "backends" else ("on the machine" if facts.is_tried else "not on the machine")
        where = f"`{entry['where']}`"
    else:
        title, tried, system = entry["title"], entry["tried"], entry.get("backend", "")
        where = f"[{entry['where'].removeprefix('https://').rstrip('/')}]({entry['where']})"
    cells = [f"`{entry['name']}`", title, *([f"`{system}`"] if kind == "sites" else [])]
    cells += [f"`{entry['distribution']}`, {where}", entry["maintainer"], tried, entry["status"]]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def rows(kind: str, listed: list[dict[str, Any]]) -> Iterator[str]:
    """A table in Markdown."""
    heads = ["name", "what it is for", *(["backend"] if kind == "sites" else [])]
    heads += ["distribution, and where it is", "looked after by", "tried on", "status"]
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    yield from (row(kind, entry) for entry in listed)


def page(text: str, written: Mapping[str, list[dict[str, Any]]]) -> str:
    """The page with its tables as they should be."""
    meanings = [f"- *{status}*: {meaning}" for status, meaning in STATUS.items()]
    for name, lines in (*((kind, rows(kind, listed)) for kind, listed in written.items()), ("status", meanings)):
        begin, end = f"<!-- made by the code: {name} -->\n", f"<!-- end of {name} -->"
        head, found, rest = text.partition(begin)
        assert found, f"{PAGE} has no {begin}"
        text = head + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    found = entries(SOURCE.read_text())
    for problem in problems(found):
        raise SystemExit(f"{SOURCE}: {problem}")
    PAGE.write_text(page(PAGE.read_text(), found))
