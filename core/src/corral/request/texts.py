"""Arguments that are texts: lines of a job's script, its variables, words of its commands.

Each function names the argument that it was given, in whose error its problem is told.
"""

from __future__ import annotations

import numbers
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import Any

from corral.environment.surroundings import inherited
from corral.errors import InvalidRequest, counted
from corral.request.synonyms import statements
from corral.text.variables import has_variable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def path_text(value: Any) -> Any:
    """A path as text, and other values as they are; also those among the words of a command."""
    if isinstance(value, list | tuple):
        return [path_text(each) for each in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def check_line(argument: str, value: object) -> None:
    """See that it can be written in one line: text without control characters, and not blanks alone. None may pass.

    Raises
    ------
    InvalidRequest
    """
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidRequest(argument, f"{value!r} is not text")
    if not value.strip():
        raise InvalidRequest(argument, "is empty; leave it out instead")
    if match := _CONTROL.search(value):
        raise InvalidRequest(argument, f"{value!r} holds the control character {match[0]!r}")


def checked_lines(argument: str, value: object) -> Sequence[str]:
    """A list of texts, as it is: one text, say, is none.

    Raises
    ------
    InvalidRequest
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        cure: list[str] = []
        if isinstance(value, str):
            cure = value.splitlines()
        elif isinstance(value, Mapping) and argument == "extra_directives":
            cure = statements(value)
        written = f"; write {argument}={cure!r}" if cure else ""
        raise InvalidRequest(argument, f"{value!r} is not a list of strings{written}")
    return value


def variables_of(env: object) -> dict[str, str]:
    """The variables of ``env=``, as text.

    Raises
    ------
    InvalidRequest
    """
    found: dict[str, str] = {}
    if not isinstance(env, Mapping):
        raise InvalidRequest("env", f"{env!r} is not a mapping of names to strings")
    for name, value in env.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidRequest("env", f"{name!r} is not the name of an environment variable")
        if value is None or isinstance(value, bool):
            cure = (
                "leave it out, or unset it in prologue=" if value is None else "write '1' or '0', or what it stands for"
            )
            raise InvalidRequest("env", f"{name} is {value!r}, which is not text: {cure}")
        if isinstance(value, numbers.Real):
            found[name] = str(value)
            continue
        if not isinstance(value, str) or "\0" in value:
            raise InvalidRequest("env", f"the value of {name} must be text without NUL characters, not {value!r}")
        if has_variable(value):
            raise InvalidRequest(
                "env",
                f"{name} is {value!r}, and nothing in env= is expanded. Have the job's shell do it: "
                f"prologue=['export {name}=\"{value}\"']; or, if it is meant literally: "
                f"prologue=[{f'export {name}={shlex.quote(value)}'!r}]",
            )
        found[name] = value
    return found


def inherited_variables(patterns: Sequence[str]) -> dict[str, str]:
    """The variables of this process that ``inherit_env=`` names.

    Raises
    ------
    InvalidRequest
    """
    try:
        return inherited(patterns, os.environ)
    except ValueError as error:
        raise InvalidRequest("inherit_env", str(error)) from None


def python_words(python: object) -> tuple[str, ...]:
    """The words of a command that is a Python; none if nothing was said.

    Raises
    ------
    InvalidRequest
    """
    if python is None:
        return ()
    if not isinstance(python, str):
        words = checked_lines("python", python)
        if not words:
            raise InvalidRequest("python", "has no words; leave it out instead")
        for word in words:
            check_line("python", word)
        return tuple(words)
    check_line("python", python)
    if len(python.split()) > 1 and not os.path.isfile(python):
        raise InvalidRequest(
            "python",
            f"{python!r} has spaces and is not a file here; if it is a command, give its words one by one: "
            f"python={python.split()}",
        )
    return (python,)


def class_path(argument: str, value: object) -> str:
    """``package.module.Class``, for a class that a job can import.

    Raises
    ------
    InvalidRequest
    """
    if isinstance(value, type):
        if value.__module__ == "__main__" or "<" in value.__qualname__:
            raise InvalidRequest(argument, f"{value!r} cannot be imported in a job; put it into a module")
        return f"{value.__module__}.{value.__qualname__}"
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
        raise InvalidRequest(argument, f"{value!r} is neither a class nor the path of one, like 'package.module.Class'")
    return value


def check_modules(argument: str, value: object) -> None:
    """See that these are names of modules.

    Raises
    ------
    InvalidRequest
    """
    if isinstance(value, bool) or value == "auto":
        none = f", or {argument}=[] for none" if value is False else ""
        raise InvalidRequest(
            argument,
            f"{value!r} is not a list of modules, and what tasks will use is not guessed: write {argument}=['pandas', "
            f"'xarray']{none}",
        )
    if isinstance(value, str):
        # A single one, or as an import statement has them.
        names = re.sub(r"^\s*import\s+", "", value).replace(",", " ").split()
        raise InvalidRequest(argument, f"{value!r} is not a list of strings; write {argument}={names!r}")
    for name in checked_lines(argument, value):
        if not all(part.isidentifier() and not iskeyword(part) for part in name.split(".")):
            raise InvalidRequest(argument, f"{name!r} is not the name of a module, like 'pandas' or 'dask.dataframe'")


def check_amounts(argument: str, value: object) -> None:
    """See that these are Dask's resources: amounts by name.

    Raises
    ------
    InvalidRequest
    """
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(amount, int | float) and amount >= 0 for name, amount in value.items()
    ):
        raise InvalidRequest(argument, f"its resources, {value!r}, are not a mapping of names to numbers")


def check_ports(argument: str, value: object, workers: int) -> None:
    """See that this is a range of ports, and large enough for the workers of a node.

    Raises
    ------
    InvalidRequest
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", value) if isinstance(value, str) else None
    if match is None or not 0 < int(match[1]) <= int(match[2] or match[1]) < 65536:
        raise InvalidRequest(argument, f"{value!r} is not a range of ports like '10000:10100'")
    ports = int(match[2] or match[1]) - int(match[1]) + 1
    if ports < 2 * workers:
        raise InvalidRequest(
            argument,
            f"{value!r} is {counted(ports, 'port')}, and {counted(workers, 'worker')} per node must have "
            f"{2 * workers}: each listens on one, and so does its nanny",
        )
