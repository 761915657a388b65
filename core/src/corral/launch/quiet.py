"""distributed's log as a user should read it in a job's log: what is expected takes no traceback."""

from __future__ import annotations

import logging

_LOGGERS = ("distributed.core", "distributed.nanny", "distributed.worker")


class _Brief(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # The scheduler's word that a worker retires may reach it when it has begun to close.
        if str(record.msg).startswith("Invalid Worker.status transition"):
            return False
        error = record.exc_info[1] if record.exc_info else None
        # Where the connection broke is of no interest, only that it did.
        if isinstance(error, OSError | EOFError):
            record.msg, record.args, record.exc_info = (
                f"{record.getMessage()} ({str(error) or type(error).__name__})",
                (),
                None,
            )
        return True


def be_brief() -> None:
    """Shorten what distributed logs in this process about lost connections."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_Brief())
