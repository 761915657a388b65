"""What a job asks for, as its script says it: ``#CORRAL --cores=4``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

#: What a directive's line begins with.
PREFIX = "#CORRAL "

#: The only queue there is.
QUEUE = "local"


class Refused(Exception):
    """It will never work; the message is for the user."""


class Request(NamedTuple):
    """The directives of one script."""

    name: str = ""
    queue: str | None = None
    account: str | None = None
    cores: int = 1
    #: Bytes.
    memory: int | None = None
    gpus: int = 0
    #: Seconds; None: no limit.
    walltime: int | None = None
    #: The log: a path in which ``{id}`` stands for the job's id; None discards the output.
    output: str | None = None
    #: Wait for ``release``.
    hold: bool = False
    #: Directives that mean nothing to this batch system.
    unknown: tuple[str, ...] = ()


def header_directives(script: str) -> list[str]:
    """The directives among a script's first lines, up to the first line that is neither blank nor a comment."""
    found = []
    for line in script.split("\n"):
        if line.startswith(PREFIX):
            found.append(line.removeprefix(PREFIX).lstrip().removesuffix("\r"))
        elif line.strip() and not line.startswith("#"):
            break
    return found


def read_request(directives: Iterable[str]) -> Request:
    """Read directives; of two that contradict each other the later one counts.

    Raises
    ------
    Refused
        A value cannot be read.
    """
    values: dict[str, Any] = {}
    unknown = []
    for directive in directives:
        option, equals, text = directive.partition("=")
        if directive == "--hold":
            values["hold"] = True
        elif equals and option in _VALUES:
            field, read = _VALUES[option]
            try:
                values[field] = read(text)
            except ValueError as error:
                raise Refused(f"{directive}: {error}") from None
        else:
            unknown.append(directive)
    return Request(**values, unknown=tuple(unknown))


# --- numbers as text --------------------------------------------------------------------------------------------

_UNITS: dict[str | None, int] = {None: 1}
_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", start=1)}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)}


def read_memory(text: str) -> int:
    """Bytes: ``4GiB``, ``500MB``, ``1048576``."""
    match = re.fullmatch(r"(\d+)\s*([KMGTP]i?B)?", text.strip(), re.ASCII)
    if not match:
        raise ValueError("not an amount of memory like 4GiB, 500MB or a number of bytes")
    return int(match[1]) * _UNITS[match[2]]


def write_memory(amount: int) -> str:
    """The shortest exact spelling."""
    return min((f"{amount // size}{unit or ''}" for unit, size in _UNITS.items() if amount % size == 0), key=len)


def read_walltime(text: str) -> int:
    """Seconds: ``26:00:00`` or ``93600``. ``00:30`` is minutes to some and hours to others: refused."""
    match = re.fullmatch(r"(?:(\d+):([0-5]\d):([0-5]\d))|(\d+)", text.strip(), re.ASCII)
    if not match:
        raise ValueError("not a walltime like 01:30:00 or a number of seconds")
    if match[4]:
        return int(match[4])
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])


def write_walltime(seconds: int) -> str:
    """``HH:MM:SS``; hours may exceed 24."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _read_number(text: str) -> int:
    if not re.fullmatch(r"\d+", text.strip(), re.ASCII):
        raise ValueError("not a whole number")
    return int(text)


_VALUES: dict[str, tuple[str, Callable[[str], int | str]]] = {
    "--name": ("name", str),
    "--queue": ("queue", str),
    "--account": ("account", str),
    "--cores": ("cores", _read_number),
    "--memory": ("memory", read_memory),
    "--gpus": ("gpus", _read_number),
    "--time": ("walltime", read_walltime),
    "--output": ("output", str),
}
