"""What Dask logs in the process of a cluster, and how much of it a user sees."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from corral.errors import InvalidRequest


def level_of(silence_logs: int | str | None) -> int | None:
    """The level that `silence_logs` means: ``"error"`` and ``logging.ERROR`` are the same.

    Raises
    ------
    InvalidRequest
    """
    if silence_logs is None or isinstance(silence_logs, int):
        return silence_logs
    levels = logging.getLevelNamesMapping()
    if not isinstance(silence_logs, str) or silence_logs.upper() not in levels:
        known = ", ".join(sorted(levels, key=lambda name: levels[name]))
        raise InvalidRequest("silence_logs", f"{silence_logs!r} is not a level of logging: {known}; or None")
    return levels[silence_logs.upper()]


class Quiet:
    """How much of what Dask logs is shown while a cluster lives, and while it closes."""

    def __init__(self, silence_logs: int | str | None) -> None:
        """Check the argument; None: everything is shown, always.

        Raises
        ------
        InvalidRequest
        """
        self._level = level_of(silence_logs)
        self._filters = ExitStack()

    def begin(self) -> None:
        if self._level is not None:
            self._filters.enter_context(at_least(self._level))

    def close_down(self) -> None:
        """Losing results is what closing means; nobody needs a list of them."""
        if self._level is not None:
            self._filters.enter_context(at_least(logging.ERROR))

    def end(self) -> None:
        self._filters.close()


@contextmanager
def at_least(level: int) -> Iterator[None]:
    """Show none of Dask's own messages below this level.

    `distributed.utils.silence_logging_cmgr` changes the level of the handlers that Dask's logger has, and so silences
    everybody else who writes to the same handler: a user's log file, say, which is to hold corral's messages as well.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        return record.levelno >= level or not record.name.startswith("distributed")

    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(is_shown)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_shown)
