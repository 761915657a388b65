"""The catalogue of backends and sites, and a page for each of them, are made from what is declared."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import catalogue
import option_tables
import plugin_pages
import pytest

from corral.plugin import discovery

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


@pytest.fixture(scope="module")
def pages() -> dict[Path, str]:
    return dict(plugin_pages.pages())


def test_every_backend_and_every_site_has_a_page(pages: dict[Path, str]) -> None:
    """Made when the documentation is built, in folders that the index shows as a whole."""
    made: dict[str, set[str]] = {"backends": set(), "sites": set()}
    for path in pages:
        made[path.parent.name].add(path.stem)
    assert made == {kind: {each["name"] for each in WRITTEN[kind]} for kind in made}
    assert made["backends"] == {each.name for each in option_tables.backends()}
    index = (plugin_pages.DOCS / "index.md").read_text().split()
    assert {"backends/*", "sites/*"} <= set(index)


@pytest.mark.parametrize(("kind", "name"), [(kind, each["name"]) for kind in WRITTEN for each in WRITTEN[kind]])
def test_a_page_says_what_its_plugin_declares(pages: dict[Path, str], kind: str, name: str) -> None:
    """Options with their words, nodes, groups, sources, a script; and nothing of the machine on which it was made."""
    text = pages[plugin_pages.DOCS / kind / f"{name}.md"]
    if kind == "backends":
        plugin = discovery.the_backend(name)
        said = [plugin.facts.title, plugin.facts.tried, *(f"| `{each.name}` |" for each in plugin.options)]
        said += [each.help for each in plugin.options]
        said += [f"corral script --backend {name} ", *plugin.facts.no_options]
    else:
        site = discovery.the_site(name).factory().description  # type: ignore[attr-defined]
        said = [site.facts.title, site.facts.checked, *site.facts.sources, *site.required, *site.options]
        said += [f"| {node.name} |" for node in site.nodes] + [f"`{name}.{group}`" for group in site.groups]
        said += [f"corral script --site {name} "]
    assert [words for words in said if words.lower() not in text.replace("\\|", "|").lower()] == []
    assert "-m corral.launch " in text
    assert str(Path.cwd()) not in text
    assert str(Path.home()) not in text


def test_pages_are_the_same_each_time(pages: dict[Path, str]) -> None:
    """So that only what has changed is built anew."""
    assert dict(plugin_pages.pages()) == pages
