"""Comments within a call, and to which argument each belongs: what somebody noted there is worth keeping."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Mapping

from attrs import define, field


def comments(text: str) -> dict[int, tuple[int, str]]:
    """The comment on each line that has one: its column in characters, and its words."""
    found = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                found[token.start[0]] = (token.start[1], token.string.lstrip("#").strip())
    except (tokenize.TokenError, SyntaxError):  # what Python's parser takes and this does not
        pass
    return found


@define
class Comments:
    """What is noted about one argument."""

    #: Beside it, or above.
    beside: list[str] = field(factory=list)
    #: Inside a value of several lines.
    inside: list[str] = field(factory=list)


def by_argument(
    around: ast.expr, arguments: Mapping[str, ast.expr], known: Mapping[int, tuple[int, str]]
) -> dict[str, Comments]:
    """The comments on each argument, by its name.

    One at the end of a line is about the argument that ends there; one on a line of its own, about what follows, if
    anything does.

    Parameters
    ----------
    around
        The call, or the dictionary.
    arguments
        Their values, by their names.
    """
    found: dict[str, Comments] = defaultdict(Comments)
    for line in range(around.lineno, around.end_lineno or around.lineno):
        if line not in known or not (words := known[line][1]):
            continue
        inside = [name for name, value in arguments.items() if value.lineno <= line < (value.end_lineno or 0)]
        before = [name for name, value in arguments.items() if value.end_lineno == line]
        after = [name for name, value in arguments.items() if value.lineno > line]
        if inside:
            found[inside[0]].inside.append(words)
        elif arguments:
            found[before[-1] if before else after[0] if after else list(arguments)[-1]].beside.append(words)
    return found
