"""Files of loads and queues: what is wrong in one is told with the file, the key and the cure."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from corral.errors import InvalidRequest, did_you_mean

_HERE = Path(__file__).parent


def ours(what: str) -> list[str]:
    """The names of the ``"loads"``, or the ``"queues"``, that come with corral."""
    return sorted(path.stem for path in (_HERE / what).glob("*.toml"))


def find(what: str, name: str | Path) -> Path:
    """The file of one that comes with corral, by its name, or a file of the user's.

    Parameters
    ----------
    what
        ``"loads"`` or ``"queues"``.

    Raises
    ------
    InvalidRequest
        There is neither; names those that there are.
    """
    known = ours(what)
    if name in known:
        return _HERE / what / f"{name}.toml"
    if Path(name).is_file():
        return Path(name)
    raise InvalidRequest(
        what.removesuffix("s"),
        f"{str(name)!r} is no file, and none of those that come with corral: {', '.join(known)}."
        f"{did_you_mean(str(name), known)}",
    )


def read(what: str, name: str | Path) -> Table:
    """Read a file in TOML.

    Parameters
    ----------
    what
        ``"loads"`` or ``"queues"``.
    name
        One that comes with corral, or a file.

    Raises
    ------
    InvalidRequest
        There is none, or it is not TOML.
    """
    path = find(what, name)
    argument = what.removesuffix("s")
    try:
        return Table(argument=argument, path=path, found=tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(argument, f"{path} is not TOML: {error}") from None


def quoted(text: str) -> str:
    """A text as TOML has it: JSON's way is allowed there."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")


def plain(number: float) -> str:
    """A number as TOML has it, without decimals that say nothing."""
    return str(int(number)) if number == int(number) else repr(float(number))


def inline(values: Mapping[str, Any]) -> str:
    """A table in one line as TOML has it, of texts, numbers and such tables."""
    words = []
    for key, value in values.items():
        shown = quoted(value) if isinstance(value, str) else inline(value) if isinstance(value, dict) else plain(value)
        words.append(f"{key if re.fullmatch('[A-Za-z0-9_-]+', key) else quoted(key)} = {shown}")
    return f"{{ {', '.join(words)} }}"


@frozen(kw_only=True)
class Table:
    """One table of a file. Its methods raise `InvalidRequest` about what is not as they are asked for it."""

    #: What the file is: a load, or a queue.
    argument: str
    path: Path
    found: Mapping[str, Any]
    #: Where in the file the table is, as in ``steps[1].stages[0].``; empty: it is all of it.
    place: str = ""

    def only(self, *known: str) -> None:
        """Refuse any other key."""
        for key in self.found:
            if key not in known:
                raise self.wrong(
                    key, f"there is no such key here.{did_you_mean(key, known)} There are {', '.join(sorted(known))}"
                )

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key) if default is None else self.found.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, f'{_shown(value)} is no text; write for example {key} = "a name"')
        return value

    def number(
        self, key: str, default: float | None = None, *, least: float = 0.0, most: float = math.inf, above: bool = False
    ) -> float:
        """A number.

        Parameters
        ----------
        default
            What it is if the file does not say; None: the file must say.
        least
            It must be at least this.
        most
            It must be at most this.
        above
            It must be more than `least`.
        """
        if default is not None and key not in self.found:
            return default
        return self._number(key, self._get(key), least, most, above)

    def whole(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number of at least `least`; without a default, the file must say it."""
        value = self.number(key, default, least=least)
        if value != int(value):
            raise self.wrong(key, f"{value:g} is no whole number")
        return int(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers that are not negative; empty: the file says nothing."""
        values = self.found.get(key, [])
        if not isinstance(values, list):
            raise self.wrong(key, f"{_shown(values)} is no list; write for example {key} = [10, 3000, 20]")
        return tuple(
            self._number(f"{key}[{position}]", value, 0.0, math.inf, False) for position, value in enumerate(values)
        )

    def amounts(self, key: str) -> dict[str, float]:
        """Numbers by name; empty: the file says nothing."""
        values = self.found.get(key, {})
        if not isinstance(values, dict):
            raise self.wrong(key, f"{_shown(values)} is no table; write for example {key} = {{ cpu = 1 }}")
        return {name: self._number(f"{key}.{name}", value, 0.0, math.inf, False) for name, value in values.items()}

    def tables(self, key: str) -> list[Table]:
        """Tables, of which there must be at least one."""
        values = self.found.get(key)
        if not isinstance(values, list) or not values or not all(isinstance(value, dict) for value in values):
            raise self.wrong(key, f"there is none; at least one [[{self._header}{key}]] is needed")
        return [
            Table(argument=self.argument, path=self.path, found=value, place=f"{self.place}{key}[{position}].")
            for position, value in enumerate(values)
        ]

    def wrong(self, key: str, problem: str) -> InvalidRequest:
        """The error that something is wrong with the value of a key."""
        return InvalidRequest(self.argument, f"{self.path}: {self.place}{key}: {problem}")

    @property
    def _header(self) -> str:
        """Where the table is, as headers in TOML have it."""
        return "".join(f"{part.partition('[')[0]}." for part in self.place.split(".") if part)

    def _get(self, key: str) -> Any:
        if key not in self.found:
            raise self.wrong(key, "it is missing")
        return self.found[key]

    def _number(self, key: str, value: object, least: float, most: float, above: bool) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise self.wrong(key, f"{_shown(value)} is no number")
        if math.isinf(value):
            raise self.wrong(key, "it must be finite; leave it out where any number will do")
        if value < least or (above and value == least):
            raise self.wrong(
                key, f"{value:g} is too little: it must be {'more than' if above else 'at least'} {least:g}"
            )
        if value > most:
            raise self.wrong(key, f"{value:g} is too much: it must be at most {most:g}")
        return float(value)


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
