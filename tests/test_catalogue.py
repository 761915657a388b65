"""The catalogue of backends and sites, and the pages of backends, are made from what is declared."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import catalogue
import option_tables
import pytest

WRITTEN = catalogue.entries(catalogue.SOURCE.read_text())

THEIRS = {
    "name": "tide",
    "title": "Tide",
    "distribution": "corral-tide",
    "where": "https://git.example.org/lab/corral-tide",
    "maintainer": "the tide group",
    "tried": "Tide 2.1",
    "status": "maintained",
}


def test_the_catalogue_has_no_mistakes() -> None:
    """Each of these lines says what to mend."""
    assert list(catalogue.problems(WRITTEN)) == []


def test_the_page_is_made_from_it() -> None:
    """``python tests/plugins/catalogue.py`` writes it."""
    text = catalogue.PAGE.read_text()
    assert catalogue.page(text, WRITTEN) == text


def test_all_that_is_here_is_in_it() -> None:
    """Each plugin under one of its names."""
    listed = {(kind, each["name"]): (each["distribution"], each["where"]) for kind in WRITTEN for each in WRITTEN[kind]}
    plugins: dict[tuple[str, str], set[str]] = {}
    for kind, name, distribution, where in catalogue.ours():
        if kind == "sites" or distribution == "corral":
            assert listed[kind, name] == (distribution, where)
        else:
            plugins.setdefault((distribution, where), set()).add(name)
    for (distribution, where), names in plugins.items():
        assert [listed.get(("backends", name)) for name in names].count((distribution, where)) == 1


def with_theirs(**changes: Any) -> dict[str, Any]:
    """The catalogue with one more backend, in its place."""
    more = copy.deepcopy(WRITTEN)
    entry = {key: value for key, value in {**THEIRS, **changes}.items() if value is not None}
    more["backends"] = sorted([*more["backends"], entry], key=lambda each: str(each["name"]))
    return more


def test_a_third_party_adds_a_few_lines() -> None:
    """And is in the table, with the address."""
    more = with_theirs()
    assert list(catalogue.problems(more)) == []
    [line] = [each for each in catalogue.page(catalogue.PAGE.read_text(), more).splitlines() if "`tide`" in each]
    assert line == (
        "| `tide` | Tide | `corral-tide`, [git.example.org/lab/corral-tide](https://git.example.org/lab/corral-tide) "
        "| the tide group | Tide 2.1 | maintained |"
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": "mantained"}, "status: 'mantained' is none of"),
        ({"status": "mantained"}, "Did you mean 'maintained'?"),
        ({"tried": None}, "tried: is missing"),
        ({"tried": 2.1}, "tried: 2.1 is not a line of text; put it in quotes"),
        ({"triedd": "2.1"}, "there is no triedd: Did you mean 'tried'?"),
        ({"where": "git.example.org/lab"}, "where: 'git.example.org/lab' is neither an address"),
        ({"where": "http://git.example.org/lab"}, "where: 'http://git.example.org/lab' is neither an address"),
        ({"where": "plugins/slurm"}, "there is no title: It is in this repository, and says that itself"),
        ({"distribution": "Corral_Tide"}, "distribution: 'Corral_Tide' is no name that pip takes"),
        ({"name": "slurm"}, "backends: slurm is there twice"),
    ],
)
def test_a_mistake_is_told_in_words(changes: dict[str, Any], problem: str) -> None:
    """For whoever has added a few lines."""
    assert problem in "\n".join(catalogue.problems(with_theirs(**changes)))


def test_the_order_is_told() -> None:
    """Two that add lines at one place are in each other's way."""
    more = copy.deepcopy(WRITTEN)
    more["backends"].reverse()
    assert "backends: torque is not in its place" in "\n".join(catalogue.problems(more))
    assert list(catalogue.problems([])) == ["the file has two lists: backends, and sites"]
    assert list(catalogue.problems({"backends": ["x"], "sites": []})) == ["backends: each entry begins with - name:"]


@pytest.mark.parametrize(
    "path", [path for path, _ in option_tables.pages()], ids=lambda path: "/".join(path.parts[-2:])
)
def test_pages_say_of_options_what_backends_declare(path: Path) -> None:
    """``python tests/plugins/option_tables.py`` writes them."""
    assert path.read_text() == dict(option_tables.pages())[path]


def test_every_backend_has_a_page() -> None:
    """In a folder that the index shows as a whole."""
    names = {each.name for each in option_tables.backends()}
    assert (
        names
        == {path.stem for path in option_tables.DOCS.glob("*.md")}
        == {each["name"] for each in WRITTEN["backends"]}
    )
    assert "backends/*" in (option_tables.DOCS.parent / "index.md").read_text()
