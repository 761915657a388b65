"""What a command printed, as a file of the conformance kit."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from corral.plugin.values import Completed

#: What stands for the rest of an argument that has lines of its own.
_MORE = "…"


def written(completed: Completed) -> str:
    """One command and its answer: ``corral.testing.transcript`` reads it."""
    command = shlex.join(_one_line(word) for word in completed.argv)
    printed, errors = completed.stdout, completed.stderr
    if errors and (printed or not completed.returncode):
        printed = f"{_ended(printed)}[stderr]\n{errors}"
    elif errors:
        printed = errors
    elif printed and completed.returncode:
        # Alone, it would be taken for what it said of its failure.
        printed = f"{_ended(printed)}[stderr]\n"
    return f"$ {command}\n{_ended(printed)}[rc={completed.returncode}]\n"


def file_names(titles: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Names for the files of conversations, given what each is called and how many commands it has."""
    used: set[str] = set()
    for title, count in titles:
        names = []
        for _ in range(count):
            number = 1
            while (name := f"{title}.txt" if number == 1 else f"{title}-{number}.txt") in used:
                number += 1
            used.add(name)
            names.append(name)
        yield names


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _one_line(word: str) -> str:
    first, *rest = word.splitlines() or [""]
    return f"{first} {_MORE}" if rest else first
