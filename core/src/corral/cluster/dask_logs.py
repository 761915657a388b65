"""What Dask logs in the process of a cluster, and how much of it a user sees."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_least(level: int | str) -> Iterator[None]:
    """Show none of Dask's own messages below this level.

    `distributed.utils.silence_logging_cmgr` changes the level of the handlers that Dask's logger has, and so silences
    everybody else who writes to the same handler: a user's log file, say, which is to hold corral's messages as well.
    """
    number = logging.getLevelNamesMapping()[level.upper()] if isinstance(level, str) else level

    def is_shown(record: logging.LogRecord) -> bool:
        return record.levelno >= number or not record.name.startswith("distributed")

    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(is_shown)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_shown)
