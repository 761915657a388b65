"""Options of a plugin are declared once, where its factory takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from attrs import field, frozen

from corral.plugin import Option, discovery
from corral.plugin.options import DeclaredOption, as_declared, declared


@frozen(kw_only=True)
class Made:
    """As most plugins are."""

    arrays: Annotated[bool, Option("Whether there are arrays")] = True
    size: Annotated[int, Option("The most jobs", at_least=1)] = 10
    disk: Annotated[int | None, Option("Scratch space", unit="bytes", default="the memory", example="20GB")] = None
    grace: Annotated[float, Option("Until SIGKILL", unit="seconds")] = 90.0
    factor: Annotated[float, Option("How much more", at_least=0.5)] = 1.0
    kind: Annotated[str | None, Option("The kind of GPUs", pattern=r"[a-z]\w*", example="a100")] = None
    way: Annotated[str, Option("How `mem` is asked for", choices=("mem", "mem-per-cpu"))] = "mem"
    parts: Annotated[Sequence[str], Option("Which limits", choices=("limit", "share"))] = ("limit",)
    found: Annotated[str, Option("What the host says", default="as the host says")] = field(factory=lambda: "x")
    where: Annotated[str, Option("Which host")] = field(factory=lambda: "x")
    _seen: set[str] = field(factory=set, init=False)


class Plain:
    """Without attrs."""

    def __init__(self, server: Annotated[str, Option("Where `acd` runs")], other: int = 3) -> None:
        self.server, self.other = server, other


def plain(*, server: Annotated[str, Option("Where `acd` runs")], **others: object) -> object:
    return Plain(server)


def by_name(factory: Callable[..., object]) -> dict[str, DeclaredOption]:
    return {option.name: option for option in declared(factory)}


def read(name: str, value: Any) -> Any:
    return by_name(Made)[name].checked(value)


def test_what_is_declared_is_all_that_is_said_of_it() -> None:
    """In the order of the factory; what it keeps for itself is no option."""
    assert [(each.name, each.usual, each.values) for each in declared(Made)] == [
        ("arrays", "True", "True or False"),
        ("size", "10", "a whole number, at least 1"),
        ("disk", "the memory", "an amount of memory, such as '20GB'"),
        ("grace", "1.5 min", "a duration"),
        ("factor", "1.0", "a number, at least 0.5"),
        ("kind", "none", "a text, such as 'a100'"),
        ("way", "'mem'", "'mem' or 'mem-per-cpu'"),
        ("parts", "('limit',)", "a list of 'limit' or 'share'"),
        ("found", "as the host says", "a text"),
        ("where", "found when it is made", "a text"),
    ]
    assert by_name(Made)["way"].help == "How `mem` is asked for"


@pytest.mark.parametrize("factory", [Plain, plain])
def test_any_factory_can_declare_them(factory: Callable[..., object]) -> None:
    """A class without attrs, a function."""
    server = by_name(factory)["server"]
    assert (server.help, server.values, server.usual) == ("Where `acd` runs", "a text", "must be given")


def test_what_is_not_declared_takes_anything() -> None:
    """It is the plugin's to judge."""
    other = by_name(Plain)["other"]
    assert (other.help, other.values, other.usual, other.checked("x")) == ("", "any value", "3", "x")


def test_a_default_that_json_has_not_is_left_out() -> None:
    """What is not declared may be anything, and the schema is JSON all the same."""

    def make(
        a: Path = Path("/x"), b: Sequence[object] = (Path("/x"),), c: Sequence[int] = (1, 2), d: bool = False
    ) -> None: ...

    assert [option.schema() for option in declared(make)] == [{}, {}, {"default": [1, 2]}, {"default": False}]


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("arrays", False, False), ("size", 1, 1), ("disk", "20GB", 20 * 10**9), ("disk", 5, 5), ("disk", None, None),
        ("grace", "1.5min", 90.0), ("grace", 3, 3.0), ("factor", 2, 2), ("found", 100, "100"), ("kind", Path("a"), "a"),
        ("way", "mem-per-cpu", "mem-per-cpu"), ("parts", ["share", "limit"], ("share", "limit")), ("parts", [], ()),
    ],
)  # fmt: skip
def test_values_become_what_the_factory_takes(name: str, value: object, taken: object) -> None:
    """Units are numbers, lists are tuples, a number is a text where one is meant."""
    assert taken == read(name, value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("arrays", "yes", "True or False"), ("arrays", 1, "True or False"),
        ("size", 0, "a whole number, at least 1"), ("size", True, "a whole number"), ("size", "5", "a whole number"),
        ("size", 1.5, "a whole number"), ("size", None, "a whole number"),
        ("disk", "20 apples", "an amount of memory, such as '20GB'"), ("disk", True, "an amount"),
        ("disk", -1, "an amount"), ("disk", ["20GB"], "an amount"), ("grace", "soon", "a duration"),
        ("factor", 0.1, "at least 0.5"), ("factor", float("nan"), "at least 0.5"),
        ("kind", "", "a text, such as 'a100'"), ("kind", "a b", "a text"), ("kind", 1.5, "a text"),
        ("found", "a\n#SBATCH --wrap=x", "a text, in one line"), ("found", "a\0", "in one line"),
        ("way", "mem-per-cp", r"'mem' or 'mem-per-cpu'\. Did you mean 'mem-per-cpu'\?"), ("way", None, "'mem' or"),
        ("parts", "limit", "a list of 'limit' or 'share'"), ("parts", ["limt"], "Did you mean 'limit'"),
        ("parts", [1], "a list of"), ("parts", {"limit": 1}, "a list of"),
    ],
)  # fmt: skip
def test_other_values_are_refused_with_what_is_taken(name: str, value: object, words: str) -> None:
    """Before the factory is called."""
    with pytest.raises(ValueError, match=words):
        read(name, value)


def test_names_are_checked_first() -> None:
    """One that is not there, and one that is missing, which says what it is."""

    def refusal(factory: Callable[..., object], given: dict[str, object], **reasons: str) -> str:
        with pytest.raises(ValueError, match=".") as caught:
            as_declared(declared(factory), given, takes_any=False, reasons=reasons)
        return str(caught.value)

    offer = "Options: server, other. Did you mean 'server'?"
    assert refusal(Plain, {"sever": "x"}) == f"has no option 'sever'. {offer}"
    assert refusal(Plain, {"arrays": 1}, arrays="there are none") == "has no option 'arrays': there are none"
    assert refusal(Plain, {}) == "cannot do without the option 'server', a text: Where acd runs"


def test_an_annotation_that_cannot_be_read_says_so() -> None:
    """What is imported for type checkers alone is not there at run time."""

    def make(server: Annotated[NoSuchType, Option("x")]) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        TypeError, match="annotation of 'server' cannot be read: NameError.* Import what it names at run"
    ):
        declared(make)


def values_of(option: DeclaredOption) -> list[object]:
    """What it takes, and what it does not."""
    return [None, True, 0, 1, 10**9, 1.5, "", "mem", "20GB", "a100", "a b", [], ["limit"], ["limt"], {"a": 1}]


@pytest.mark.parametrize("name", by_name(Made))
def test_the_schema_takes_what_the_option_takes(name: str) -> None:
    """An editor must not complain about what corral takes."""
    jsonschema: Any = pytest.importorskip("jsonschema")  # takes three seconds
    option = by_name(Made)[name]
    schema = option.schema()
    assert schema["description"] == option.help.replace("`", "")
    for value in values_of(option):
        try:
            option.checked(value)
        except ValueError:
            continue
        jsonschema.validate(value, schema)


@pytest.mark.parametrize("plugin", discovery.usable("backend"), ids=lambda each: each.name)
def test_every_backend_declares_all_of_its_options(plugin: discovery.Installed) -> None:
    """There is no other way to have one."""
    assert [option.name for option in plugin.options if option.said is None] == []
