"""A call of one of dask-jobqueue's classes, in corral's words."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import Factory, frozen

from corral.migration.comments import Comments, by_argument
from corral.migration.text import Text
from corral.migration.values import Remark, Source
from corral.migration.words import Words, in_our_words
from corral.migration.writing import Argument, expression
from corral.request.synonyms import RENAMED

#: Of the keyword arguments of the clusters, those that may be given by their place.
_BY_PLACE = ("n_workers", "job_cls")

#: What means something else when its lines are indented otherwise.
_UNMOVED = r"'''|\"\"\"|\\\n"


@frozen(kw_only=True)
class Written:
    """The arguments of the new call."""

    arguments: Sequence[Argument]
    remarks: Sequence[Remark]
    #: Comments whose arguments are no more.
    comments: Sequence[str] = ()


@frozen(kw_only=True)
class Given:
    """One argument of the old call."""

    value: Any
    node: ast.AST
    line: int
    #: Notes beside it, and inside a value of several lines.
    comments: Comments = Factory(Comments)


def value_of(node: ast.expr, text: Text) -> Any:
    """What an argument is, as far as it is written out; what only the program knows is its source."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        pass
    if isinstance(node, ast.List | ast.Tuple):
        return [value_of(each, text) for each in node.elts]
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return {ast.literal_eval(key): value_of(each, text) for key, each in zip(node.keys, node.values) if key}
    return Source(text.of(node))


def given_by(
    call: ast.Call, text: Text, comments: Mapping[int, tuple[int, str]], place: Callable[[int], str]
) -> tuple[dict[str, Given], list[ast.expr], list[Remark]]:
    """The arguments of a call by name, what it unpacks, and what is neither."""
    notes = by_argument(call, {each.arg: each.value for each in call.keywords if each.arg}, comments)
    given: dict[str, Given] = {}
    remarks: list[Remark] = []
    for position, node in enumerate(call.args):
        if position < len(_BY_PLACE) and not isinstance(node, ast.Starred):
            given[_BY_PLACE[position]] = Given(value=value_of(node, text), node=node, line=node.lineno)
        else:
            said = f"{text.of(node)} is an argument without a name; give it its name, and migrate again"
            remarks.append(Remark(place=place(node.lineno), said=said, is_lost=True, line=node.lineno))
    unpacked = []
    for keyword in call.keywords:
        if keyword.arg is None:
            unpacked.append(keyword.value)
            continue
        given[keyword.arg] = Given(
            value=value_of(keyword.value, text),
            node=keyword.value,
            line=keyword.lineno,
            comments=notes.get(keyword.arg, Comments()),
        )
    return given, unpacked, remarks


def given_in(node: ast.expr, text: Text, comments: Mapping[int, tuple[int, str]]) -> dict[str, Given] | None:
    """The arguments in a dictionary that is written out; None if it is not, or holds what is not known."""
    pairs: list[tuple[object, ast.expr]] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        pairs = [(each.arg, each.value) for each in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = [(getattr(key, "value", None), each) for key, each in zip(node.keys, node.values)]
    named = {name: each for name, each in pairs if isinstance(name, str)}
    if not named or len(named) < len(pairs):
        return None
    notes = by_argument(node, named, comments)
    return {
        name: Given(value=value_of(each, text), node=each, line=each.lineno, comments=notes.get(name, Comments()))
        for name, each in named.items()
    }


def written(
    class_name: str,
    given: Mapping[str, Given],
    text: Text,
    place: Callable[[int], str],
    *,
    line: int,
    beside: Collection[str] = (),
) -> Written:
    """These arguments in corral's words, in the order that they had.

    Parameters
    ----------
    line
        Where the call or the dictionary begins.
    beside
        Names of further arguments of the same call.
    """
    words = in_our_words(class_name, {name: each.value for name, each in given.items()}, beside=beside)
    arguments, notes = [], {name: [*each.comments.beside, *each.comments.inside] for name, each in given.items()}
    places = {RENAMED.get(old, old): number for number, old in enumerate(given)}
    for name, value in sorted(words.arguments.items(), key=lambda item: places.get(item[0], len(places))):
        old = _source_of(name, value, given)
        if old is not None and (source := _as_before(value, given[old], text)) is not None:
            beside = given[old].comments.beside if "\n" in source else notes[old]
            stays = re.search(_UNMOVED, source) is not None
            arguments.append(Argument(name=name, text=source, comment="; ".join(beside), stays=stays))
            notes[old] = []
        else:
            arguments.append(Argument(name=name, text=expression(value), comment="; ".join(notes.pop(name, []))))
    left = [f"{name}: {'; '.join(each)}" for name, each in notes.items() if each]
    return Written(arguments=arguments, remarks=_remarks(words, given, place, line), comments=left)


def _source_of(name: str, value: Any, given: Mapping[str, Given]) -> str | None:
    """The old argument that says the same, if there is one."""
    same = [old for old, each in given.items() if type(each.value) is type(value) and each.value == value]
    return name if name in same else same[0] if same else None


def _as_before(value: Any, given: Given, text: Text) -> str | None:
    """A value in the words of the program; None if they cannot be moved."""
    assert isinstance(given.node, ast.expr)
    source = text.of(given.node)
    if "\n" not in source:
        return source
    if re.search(_UNMOVED, source):
        return source if isinstance(value, Source) else None
    first, _, rest = source.partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}"


def _remarks(words: Words, given: Mapping[str, Given], place: Callable[[int], str], begin: int) -> list[Remark]:
    found = []
    for said, is_lost in [*((each, True) for each in words.lost), *((each, False) for each in words.changed)]:
        named = (each.line for name, each in given.items() if re.match(rf"{name}\b", said))
        line = next(named, begin)
        found.append(Remark(place=place(line), said=said, is_lost=is_lost, line=line))
    return found
