"""The declarations of a class of laws, explained where `help` and the reference show them.

Each is explained once, in the comment above it; Python keeps no comments, so they are read from the source.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import TypeVar

C = TypeVar("C", bound=type)

#: ``#:`` lines, and the attribute below them.
_DECLARED = re.compile(
    r"^    #: (?P<words>.*\n(?:    #: .*\n)*)    (?P<name>[a-z]\w*): ClassVar\[(?P<kind>.*)\](?: = .*)?$", re.MULTILINE
)
_WIDTH = 100
_HEADING = "Attributes\n----------\n"


def declarations(cls: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and explanation of what may be declared, in the order of the source."""
    for each in reversed(cls.__mro__):
        if not each.__module__.startswith("corral.testing"):
            continue
        try:
            source = inspect.getsource(each)
        except OSError:
            continue  # a frozen program: then there are no words
        for match in _DECLARED.finditer(source):
            words = " ".join(line.removeprefix("    #: ").strip() for line in match["words"].splitlines())
            yield match["name"], match["kind"], words


def explains_declarations(cls: C) -> C:
    """The class, with a section of its docstring for what may be declared in a class that derives from it."""
    if cls.__doc__ is not None:
        told = {name: f"{name} : {kind}\n{_wrapped(words)}\n" for name, kind, words in declarations(cls)}
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__)}\n\n{_HEADING}{''.join(told.values())}"
    return cls


def _wrapped(words: str) -> str:
    return textwrap.fill(words, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
