"""What corral logs of a cluster that somebody looks at: it is shown there.

Without a handler, Python writes warnings to stderr, and a notebook puts that below the cell that once made the cluster,
hours ago and far from where people look. So a cluster that is displayed takes what is said of it. Handlers that a user
has set up get everything, as before, and what is about other clusters is written as before.
"""

from __future__ import annotations

import logging
import weakref
from typing import Protocol

_CORRAL = logging.getLogger("corral")


class Listener(Protocol):
    """Shows a cluster."""

    name: str

    def tell(self, words: str, *, is_error: bool = False) -> None:
        """Show this, too; from any thread."""


class _Telling(logging.Handler):
    """Hands each record to those who show the cluster that it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    def emit(self, record: logging.LogRecord) -> None:
        words = self.format(record)
        is_for_people = record.levelno >= logging.WARNING
        takers = [each for each in list(self.listeners) if is_for_people and _is_about(words, each.name)]
        for each in takers:
            # Whose cluster it is, its name at the head says.
            each.tell(words.removeprefix(f"cluster {each.name}: "), is_error=record.levelno >= logging.ERROR)
        if not takers and not _others() and (last := logging.lastResort) is not None:
            # What Python does where nobody handles a record; now somebody seems to.
            if record.levelno >= last.level:
                last.handle(record)


def _is_about(words: str, name: str) -> bool:
    return words.startswith((f"cluster {name}:", f"cluster {name} ", f"allocation {name}:")) or repr(name) in words


def _others() -> bool:
    """Whether anybody else handles what corral logs."""
    handlers = [*_CORRAL.handlers, *(logging.getLogger().handlers if _CORRAL.propagate else ())]
    return any(each is not _TELLING for each in handlers)


_TELLING = _Telling()


def listen(listener: Listener) -> None:
    """From now on it is told what is logged of its cluster."""
    _TELLING.listeners.add(listener)
    if _TELLING not in _CORRAL.handlers:
        _CORRAL.addHandler(_TELLING)


def listen_no_more(listener: Listener) -> None:
    """It shows the cluster to nobody."""
    _TELLING.listeners.discard(listener)
    if not _TELLING.listeners:
        _CORRAL.removeHandler(_TELLING)
