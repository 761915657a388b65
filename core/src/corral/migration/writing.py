"""Values as Python writes them, calls of one or several lines, and the words of a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from corral.migration.values import Source

#: The longest line.
_WIDTH = 100


@frozen(kw_only=True)
class Argument:
    """One argument as it will be written."""

    #: Empty: the text stands alone, as ``**options`` does.
    name: str = ""
    text: str
    #: Without its ``#``.
    comment: str = ""
    #: It has several lines, and they are not to be indented.
    stays: bool = False

    def __str__(self) -> str:
        return f"{self.name}={self.text}" if self.name else self.text


def expression(value: object) -> str:
    """A value as a program writes it."""
    if isinstance(value, Source):
        return value.text
    if isinstance(value, str):
        # The quotes of this project's own examples.
        plain = repr(value)
        return f'"{value}"' if plain == f"'{value}'" and '"' not in value else plain
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{expression(key)}: {expression(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(expression, value))
        if isinstance(value, tuple):
            return f"({inside}{',' if len(value) == 1 else ''})"
        return f"[{inside}]"
    return repr(value)


def call(function: str, arguments: Sequence[Argument], *, indent: str = "", before: int = 0) -> str:
    """A call in one line if that is short and has no comments, else with a line for each argument.

    Parameters
    ----------
    indent
        That of the statement.
    before
        How much of the first line is taken.
    """
    line = f"{function}({', '.join(map(str, arguments))})"
    has_lines = "\n" in line or any(argument.comment for argument in arguments)
    if not has_lines and before + len(line) <= _WIDTH:
        return line
    inner = f"{indent}    "
    lines = []
    for each in arguments:
        text = f"{inner}{each}," if each.stays else f"{inner}{each},".replace("\n", f"\n{inner}")
        lines.append(f"{text}  # {each.comment}" if each.comment else text)
    return "\n".join([f"{function}(", *lines, f"{indent})"])


def options(arguments: Mapping[str, Any]) -> list[str]:
    """Arguments as options of corral's commands."""
    words = []
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        if name == "backend_options":
            words += [f"--backend-option={key}={_json(each)}" for key, each in value.items()]
        elif name == "worker_options":
            words.append(f"{option}={json.dumps(value)}")
        elif isinstance(value, Mapping):
            words += [f"{option}={key}={each}" for key, each in value.items()]
        elif isinstance(value, list | tuple):
            words += [f"{option}={each}" for each in value]
        else:
            words.append(f"{option}={value}")
    return words


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _quoted(word: str) -> str:
    """A word of a command; of an option, only the value is quoted."""
    if match := re.match(r"(--[\w-]+=)(.+)", word, re.DOTALL):
        return match[1] + shlex.quote(match[2])
    return shlex.quote(word)


def command(words: Sequence[str]) -> str:
    """A command in as many lines as it takes."""
    lines, line = [], ""
    for word in map(_quoted, words):
        if line and len(line) + len(word) + 3 > _WIDTH:
            lines.append(f"{line} \\")
            line = f"    {word}"
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
