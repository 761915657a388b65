"""What may stand in a site's YAML, and what YAML makes of it that nobody has meant: ``no``, ``010``, ``12:30``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

from corral.errors import did_you_mean, excerpt
from corral.plugin import site_files
from corral.plugin.site_files import Keys, Problem, Written
from corral.text.durations import seconds_in
from corral.text.sizes import bytes_in


class Unusable(Exception):
    """A value that cannot be used; says why."""


@frozen(kw_only=True, eq=False)
class At:
    """A place in what is written, and the list of what is wrong."""

    written: Written = field(repr=False)
    path: Keys
    problems: list[Problem] = field(repr=False)

    def below(self, key: object) -> At:
        return At(written=self.written, path=(*self.path, key), problems=self.problems)

    def tell(self, words: str) -> None:
        source, line = self.written.place(self.path)
        self.problems.append(Problem(source=source, line=line, key=site_files.spelled(self.path), words=words))

    @property
    def text(self) -> str | None:
        """The value as it is written, if that is in a file and without quotes."""
        return self.written.text(self.path)

    def spelled(self, value: object) -> str:
        """The value in an error; what YAML has made of it, if that is not what is written."""
        text = self.text
        if isinstance(value, Mapping):
            return "this has keys and values"
        if isinstance(value, list | tuple):
            return "this is a list"
        if value is None:
            return "nothing"
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, str):
            return repr(excerpt(value, 80))
        kind = "the number " if type(value) in (int, float) else "a date, " if isinstance(value, datetime.date) else ""
        if text is None or text == shown:
            return f"{kind}{shown}"
        return f"{text} is {kind}{shown} to YAML"

    @property
    def quoted(self) -> str:
        """What to write to have a text."""
        return f"Put it in quotes: {self.text!r}" if self.text else "Write a text in quotes"


Read = Callable[[Any, At], Any]


@frozen(kw_only=True)
class Key:
    """One key of a section."""

    #: What it means, for people.
    words: str
    #: Gives the value as the description wants it. Raises `Unusable`, or tells what is wrong itself.
    read: Read
    #: What JSON schema says of it.
    schema: Mapping[str, Any]
    required: bool = False


# --- values -----------------------------------------------------------------------------------------------------


def text(value: Any, at: At) -> str:
    """One line that says something."""
    if not isinstance(value, str):
        raise Unusable(f"{at.spelled(value)}, where a text belongs. {at.quoted}")
    if not value.strip():
        raise Unusable("this text is empty. Leave the key out, or say something")
    if not value.isprintable():
        raise Unusable(f"{value!r} is not one line of printable characters")
    return value


def sentence(value: Any, at: At) -> str:
    """A text that may go on in the next line."""
    return text(" ".join(value.split()) if isinstance(value, str) else value, at)


def day(value: Any, at: At) -> str:
    """A date, which YAML knows as such."""
    if isinstance(value, datetime.date):
        return value.isoformat()[:10]
    return text(value, at)


def regular_expression(value: Any, at: At) -> str:
    """A pattern, as `re` has it."""
    try:
        re.compile(text(value, at))
    except re.error as error:
        raise Unusable(f"{value!r} is no regular expression: {error}") from None
    return str(value)


def truth(value: Any, at: At) -> bool:
    """True or false, and no word that somebody takes for it."""
    if not isinstance(value, bool):
        raise Unusable(f"{at.spelled(value)}, which is neither true nor false")
    return value


def count(least: int) -> Read:
    """A whole number, written in tens."""

    def read(value: Any, at: At) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unusable(f"{at.spelled(value)}, where a whole number belongs, without quotes")
        if (written := at.text) is not None and written.lstrip("+") != str(value):
            raise Unusable(f"{at.spelled(value)}. Write {value} if that is meant")
        if value < least:
            raise Unusable(f"{value} is less than {least}")
        return value

    return read


def memory(value: Any, at: At) -> int:
    """Bytes, from an amount with its unit."""
    examples = "write for example 250GB (10^9 bytes) or 240GiB (2^30)"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unusable(f"{at.spelled(value)}, where an amount of memory belongs; {examples}")
    try:
        found = bytes_in(value)
    except ValueError:
        raise Unusable(f"{at.spelled(value)}, which is no amount of memory; {examples}") from None
    if found < 2**20:
        raise Unusable(f"{at.spelled(value)}: that is {found} bytes. Is a unit missing? W{examples[1:]}")
    return found


def duration(value: Any, at: At) -> int:
    """Seconds, from a duration with its unit, or with colons."""
    examples = "write for example 12h, 7d or '00:30:00'"
    written = at.text
    if type(value) is int and written is not None:
        # YAML 1.1 counts 12:30:00 in sixties, which are seconds: what is meant. 12:30 could be hours and minutes.
        if written.count(":") == 1:
            raise Unusable(f"{at.spelled(value)}: minutes or hours? W{examples[1:]}")
        if ":" not in written:
            raise Unusable(
                f"{value} has no unit: it is minutes to some batch systems and seconds to others; {examples}"
            )
    try:
        found = int(seconds_in(value, bare_text=False))
    except ValueError as error:
        raise Unusable(f"{error}; {examples}") from None
    if found <= 0:
        raise Unusable(f"{value!r} is not above 0; {examples}")
    return found


def texts(value: Any, at: At) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple):
        example = f": [{value!r}]" if isinstance(value, str) else ""
        raise Unusable(f"{at.spelled(value)}, where a list of texts belongs{example}")
    return tuple(each_of(text, value, at))


def directives(value: Any, at: At) -> tuple[str, ...]:
    """Native directives, without the prefix."""

    def one(item: Any, here: At) -> str:
        found = text(item, here)
        if match := re.match(r"#\S*\s*", found):
            raise Unusable(f"{found!r} has a prefix, which corral adds: write {found[match.end() :]!r}")
        return found

    return tuple(each_of(one, value, at)) if isinstance(value, list | tuple) else texts(value, at)


def sentences(value: Any, at: At) -> tuple[str, ...]:
    """A list of texts that may go on in the next line."""
    return tuple(each_of(sentence, value, at)) if isinstance(value, list | tuple) else texts(value, at)


def mapping_of(read: Read, *, named: Callable[[str], str] = str) -> Read:
    """Keys that the file's author chooses, and values of one kind."""

    def read_all(value: Any, at: At) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Unusable(f"{at.spelled(value)}, where keys and values belong")
        found = {}
        for key, each in value.items():
            here = at.below(key)
            try:
                if not isinstance(key, str):
                    raise Unusable(f"{key!r}, to YAML, where a name belongs. Put it in quotes")
                found[named(key)] = read(each, here)
            except Unusable as error:
                here.tell(str(error))
        return found

    return read_all


def anything(value: Any, _at: At) -> Any:
    """What others judge."""
    return value


def argument(name: str) -> str:
    """A key as Python spells it."""
    return name.replace("-", "_")


def each_of(read: Read, value: Iterable[Any], at: At) -> Iterable[Any]:
    """The items of a list that can be read; tells what is wrong with others."""
    for number, item in enumerate(value):
        here = at.below(number)
        try:
            yield read(item, here)
        except Unusable as error:
            here.tell(str(error))


def section(keys: Mapping[str, Key], make: Callable[..., Any]) -> Read:
    """A mapping with these keys; None, with its problems told, if it has any."""

    def read(value: Any, at: At) -> Any:
        before = len(at.problems)
        found = walk(keys, value, at)
        return make(**found) if len(at.problems) == before else None

    return read


def walk(keys: Mapping[str, Key], value: Any, at: At) -> dict[str, Any]:
    """The values of a section; tells what is wrong. What has no value says nothing, as elsewhere in Dask's files."""
    if not isinstance(value, Mapping):
        at.tell(f"{at.spelled(value)}, where keys and values belong: {', '.join(keys)}".replace("_", "-"))
        return {}
    found = {}
    for key, each in value.items():
        here, name = at.below(key), argument(str(key))
        if name not in keys:
            meant = did_you_mean(name.replace("_", "-"), [known.replace("_", "-") for known in keys])
            here.tell(f"there is no such key.{meant}")
        elif each is not None:
            try:
                found[name] = keys[name].read(each, here)
            except Unusable as error:
                here.tell(str(error))
    said = {argument(str(key)) for key, each in value.items() if each is not None}
    for name, key in keys.items():
        if key.required and name not in said:
            at.tell(f"lacks {name.replace('_', '-')}: {key.words[0].lower()}{key.words[1:].rstrip('.')}")
    return found
