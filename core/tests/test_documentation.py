"""The documentation is as complete as the contract."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]
from attrs import fields

import corral
import corral.plugin
import corral.testing
from corral import Cluster, errors
from corral.allocation.cluster import Allocation
from corral.cli import main
from corral.cli.options import spoken
from corral.cli.schema import configuration_schema
from corral.plugin import discovery, hookspecs, parsing
from corral.plugin.site_yaml import NODE, OPTION, SITE
from corral.plugin.validation import HOOKS
from corral.request.arguments import CLUSTER_ARGUMENTS
from corral.request.settings import Settings
from corral.request.worker_group import WorkerGroup
from corral.text.docstrings import docstring, documented

DOCS = Path(__file__).parents[2] / "docs"

#: What a person can set, and the class whose docstring says it.
OPTIONS = {
    Cluster: [*CLUSTER_ARGUMENTS, "n_workers", "silence_logs", "asynchronous"],
    WorkerGroup: list(WorkerGroup.argument_names()),
    Settings: [attribute.name for attribute in fields(Settings)],
}


#: Public names that other pages explain, or that are modules and marks.
SAID_ELSEWHERE = {"parsing", "CONTRACT", "Conversation", "hookimpl"}


#: What Dask asks of each of its clusters.
OF_DASK = {"plan", "requested", "observed", "workers", "status", "close", "sync", "scale_down", "scale_up", "new_spec"}


def words_of(owner: type) -> dict[str, str]:
    """What a class says of its parameters, read as the command line reads it."""
    return documented(docstring(owner.__module__, owner.__name__))


def test_every_hook_is_in_the_reference_once() -> None:
    """The reference is built from the docstrings, one directive for each hook."""
    listed = re.findall(r"autofunction:: corral\.plugin\.hookspecs\.(\w+)", (DOCS / "hooks.md").read_text())
    assert sorted(listed) == sorted(HOOKS)


def test_the_kit_and_the_helpers_of_authors_are_in_the_reference() -> None:
    """By their own names, or with all of their module."""
    pages = "".join((DOCS / name).read_text() for name in ("hooks.md", "testing-kit.md"))
    directives = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", pages, re.MULTILINE))
    named = {name.rpartition(".")[2] for name in directives}
    for module in (corral.testing, corral.plugin):
        public = {name: getattr(getattr(module, name), "__module__", "") for name in module.__all__}
        missing = {name for name, home in public.items() if name not in named and home not in directives}
        assert missing - SAID_ELSEWHERE == set(), module.__name__
    helpers = {name: each for name, each in vars(parsing).items() if inspect.isfunction(each) and name[0] != "_"}
    assert [name for name, each in helpers.items() if not inspect.getdoc(each)] == []


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_says_what_it_does_in_full_types(name: str) -> None:
    """A docstring, and no parameter or result without a type."""
    function = getattr(hookspecs, name)
    assert docstring("corral.plugin.hookspecs", name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())


def test_every_page_is_reached_from_the_index() -> None:
    """What nobody finds is not documented."""
    index = (DOCS / "index.md").read_text().split()
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= set(index)


@pytest.mark.parametrize("page", ["threat-model", "faults"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    """A line that nothing holds is a wish."""
    named = re.findall(r"`([\w/.]+\.py)::(\w+)", (DOCS / f"{page}.md").read_text())
    assert len(named) > 10
    missing = [f"{path}::{test}" for path, test in named if f"def {test}(" not in (DOCS.parent / path).read_text()]
    assert missing == []


@pytest.mark.parametrize("page", sorted(path.stem for path in DOCS.glob("*.md")))
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    """By its path from the root of the repository."""
    named = re.findall(r"`((?:core|contrib|docs|plugins|tests)/[\w/.-]+\.\w+)", (DOCS / f"{page}.md").read_text())
    assert [path for path in named if not (DOCS.parent / path).is_file()] == []


@pytest.mark.parametrize("owner", OPTIONS)
def test_every_option_is_described_once(owner: type) -> None:
    """In the docstring of the class that has it, in words of its own; and its page is made from that."""
    words = words_of(owner)
    assert sorted(OPTIONS[owner]) == sorted(words)
    assert all(len(text) > 10 for text in words.values())
    assert not any("**" in text for text in words.values())
    assert len(set(words.values())) == len(words)
    pages = "".join(path.read_text() for path in DOCS.glob("*.md"))
    assert len(re.findall(rf"autoclass:: {owner.__module__}\.{owner.__qualname__}\b", pages)) == 1


def indented(docstring: str, by: int) -> str:
    """As in the source of something nested so deep; Python 3.13 takes what is common to all lines away."""
    first, *rest = inspect.cleandoc(docstring).splitlines()
    return "\n".join([first, *(by * " " + line if line else "" for line in rest)])


@pytest.mark.parametrize("owner", OPTIONS)
def test_parameters_are_found_however_a_docstring_is_indented(owner: type) -> None:
    """Python 3.11 and 3.13 show the same docstring differently."""
    words = words_of(owner)
    assert len(words) >= len(OPTIONS[owner])
    for by in (0, 4, 8):
        assert words == documented(indented(docstring(owner.__module__, owner.__name__), by))


def test_what_has_no_docstring_says_nothing() -> None:
    """Nor does what has no source: a built-in module, or a name that is not there."""
    missing: list[tuple[str, ...]] = [("builtins", "int"), ("sys",), ("corral.errors", "NoSuch"), ("no_such",)]
    assert {docstring(*each) for each in missing} == {""}


def test_what_a_job_and_a_cluster_share_is_said_in_the_same_words() -> None:
    """`Allocation` has arguments of both; some of them mean something else inside a job."""
    own = {
        "cores",
        "memory",
        "processes",
        "threads",
        "name",
        "backend",
        "shared_directory",
        "death_timeout",
        "asynchronous",
    }
    own |= {"worker_class", "worker_options"}
    everywhere = words_of(WorkerGroup) | words_of(Cluster)
    here = words_of(Allocation)
    shared = here.keys() & everywhere.keys() - own
    assert len(shared) >= 12
    assert {name: everywhere[name] for name in shared} == {name: here[name] for name in shared}


def cluster_options_of(command: click.Command) -> list[click.Option]:
    """Those that set an argument of a cluster or of a job."""
    # How options of a plugin are spelled on a command line, only the command line has to say.
    names = {*OPTIONS[Cluster], *OPTIONS[WorkerGroup]} - {"backend_options", "site_options", "plugins"}
    return [each for each in command.params if isinstance(each, click.Option) and each.name in names]


@pytest.mark.parametrize("name", ["demo", "script"])
def test_help_says_what_docstrings_say(name: str) -> None:
    """The same words, without marks; but what demo takes when nobody says otherwise is the demo's own."""
    options = cluster_options_of(main.commands[name])
    assert len(options) > 25
    cluster, job = (spoken(words_of(owner), _names(options)) for owner in (Cluster, WorkerGroup))
    for option in options:
        words = (option.help or "").removesuffix(" May be repeated.")
        if name == "demo" and option.name == "backend":
            said, _, default = words.partition(" Default: ")
            assert cluster["backend"].startswith(said)
            assert default == "the queue that every machine has."
            continue
        assert words in (cluster.get(str(option.name)), job.get(str(option.name)))


def _names(options: list[click.Option]) -> set[str]:
    return {str(option.name) for option in options}


def described(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and descriptions of a schema, at any depth."""
    for name, each in schema.get("properties", {}).items():
        if "description" in each:
            yield name.replace("-", "_"), each["description"]
        for part in (each, each.get("additionalProperties")):
            if isinstance(part, dict):
                yield from described(part)


def test_the_schema_says_what_docstrings_say() -> None:
    """Every option that can stand in YAML, with the same words, without marks."""
    texts = [spoken(words_of(owner), ()) for owner in OPTIONS]
    found = list(described(configuration_schema()))
    for name, text in found:
        assert name in ("backends", "sites") or any(text == words.get(name) for words in texts)
    configurable = {*CLUSTER_ARGUMENTS, *OPTIONS[WorkerGroup], *OPTIONS[Settings]}
    assert {name for name, _ in found} == configurable | {"backends", "sites"}


def test_the_schema_knows_what_yaml_can_write() -> None:
    """Types are those of the arguments, less those that only a program can make."""
    section = configuration_schema()["properties"]["corral"]["properties"]
    assert section["cores"]["type"] == "integer"
    assert section["walltime"]["type"] == ["integer", "string", "number"]
    assert section["security"]["type"] == ["boolean", "null"]
    assert section["shared-directory"]["type"] == ["string", "null"]
    assert section["modules"]["items"] == {"type": "string"}
    assert section["extra-directives"] == section["extra_directives"]
    assert section["backends"]["additionalProperties"] == {"$ref": "#/$defs/backend"}
    other = configuration_schema()["$defs"]["backend"]
    assert other["additionalProperties"] is False
    assert "commands-per-minute" not in other["properties"]


def test_the_schema_knows_the_options_of_backends() -> None:
    """Of those that are installed, as they declare them: an editor tells what is misspelt."""
    import jsonschema  # takes three seconds

    schema = configuration_schema()
    valid = {"corral": {"backends": {"slurm": {"backend-options": {"arrays": False, "gpu_type": "a100"}}}}}
    jsonschema.validate(valid, schema)
    for options in ({"arays": False}, {"arrays": "no"}, {"memory_option": "pmem"}, {"max_array_size": 0}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"corral": {"backends": {"slurm": {"backend-options": options}}}}, schema)
    jsonschema.validate({"corral": {"backends": {"of-next-year": {"backend-options": {"any": 1}}}}}, schema)
    found = schema["properties"]["corral"]["properties"]["backends"]["properties"]
    assert {each.name for each in discovery.usable("backend")} <= found.keys()
    declared = {option.name: option for option in discovery.the_backend("slurm").options}
    [_, its] = found["slurm"]["allOf"]
    for name, said in its["properties"]["backend-options"]["properties"].items():
        assert said["description"] == declared[name].help.replace("`", "")


def written_configuration() -> Iterator[tuple[str, str]]:
    """Blocks of YAML that begin with corral's section, by page."""
    for path in sorted(DOCS.glob("*.md")):
        for text in re.findall(r"^```yaml\n(corral:\n.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            yield path.stem, text


@pytest.mark.parametrize(
    ("page", "text"), [*written_configuration()], ids=[page for page, _ in written_configuration()]
)
def test_what_a_page_configures_is_what_the_schema_takes(page: str, text: str) -> None:
    """As an editor would tell."""
    import jsonschema  # takes three seconds

    # A date is a text to the schema.
    plain = json.loads(json.dumps(yaml.safe_load(text), default=str))
    jsonschema.validate(plain, configuration_schema())


def test_the_page_of_sites_has_all_their_keys() -> None:
    """In tables as the schema has them, with the same words and in the same order."""
    page = (DOCS / "site-files.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| [a-z ]+ \| (.+) \|$", page[page.index("## Keys") :], re.MULTILINE)
    assert rows == [(key.replace("_", "-"), each.words) for keys in (SITE, NODE, OPTION) for key, each in keys.items()]


@pytest.mark.parametrize("name", sorted(main.commands))
def test_the_list_of_commands_cuts_no_sentence(name: str) -> None:
    """In a terminal of 80 columns."""
    width = 78 - 2 - max(map(len, main.commands)) - 2
    assert not main.commands[name].get_short_help_str(width).endswith("...")


GLOSSARY = re.findall(r"^\| ([a-z ]+) \| (.+) \| `([\w/]+\.py)` \|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("word", "meaning", "file"), GLOSSARY, ids=[word for word, _, _ in GLOSSARY])
def test_every_word_of_the_glossary_is_used(word: str, meaning: str, file: str) -> None:
    """In the file where it is at home, also as part of a name; and its meaning is one sentence."""
    text = (DOCS.parent / "core/src/corral" / file).read_text()
    assert re.search(word.replace(" ", "[ _]?"), text, re.IGNORECASE)
    assert re.fullmatch(r"[A-Z][^.]*\.", meaning)


def test_every_line_of_the_glossary_is_held() -> None:
    """A line that is written in another way would be held by nothing."""
    lines = [line for line in (DOCS / "glossary.md").read_text().splitlines() if line.startswith("|")]
    heads = 2 * lines.count("| --- | --- | --- |")
    assert len(GLOSSARY) == len(lines) - heads
    assert len({word for word, _, _ in GLOSSARY}) == len(GLOSSARY)


def test_every_public_name_is_in_the_reference() -> None:
    """What can be imported from `corral`, all that is raised, and what is plain in an overview."""
    pages = "".join((DOCS / name).read_text() for name in ("api.md", "hooks.md"))
    directives = set(re.findall(r"^\.\. auto(?:class|exception|function)+:: corral\.([\w.]+)", pages, re.MULTILINE))
    raised = {name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, Exception)}
    raised -= {name for name in raised if getattr(errors, name).__module__ != errors.__name__}
    assert {f"errors.{name}" for name in raised} <= directives
    assert all(f"`corral.{name}`" in pages for name in corral.__all__ if name != "__version__")
    public = {name for name in vars(Cluster) if name[0] != "_" and inspect.getdoc(getattr(Cluster, name))}
    said = set(re.findall(r"^\.\. auto(?:method|property):: Cluster\.(\w+)", pages, re.MULTILINE))
    assert public - said <= OF_DASK
    assert said <= public
