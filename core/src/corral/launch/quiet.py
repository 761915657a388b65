"""distributed's log as a user should read it in a job's log: what is expected takes no traceback."""

from __future__ import annotations

import logging

_LOGGERS = ("distributed.core", "distributed.nanny", "distributed.worker")

#: What it says of workers that end as they should: the scheduler's word that one retires may reach it when it is
#: closing already, one that was said farewell of may still send a heartbeat, and a spawned one that closes stumbles
#: over its own closed queue.
_NOTHING = ("Invalid Worker.status transition", "Worker process died unexpectedly", "Scheduler was unaware of this")


class _Brief(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(_NOTHING):
            return False
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError):
            # Where in the code a connection broke is of no interest, only that it did.
            record.msg, record.args, record.exc_info = f"{record.getMessage()} ({error})", (), None
        return True


def be_brief() -> None:
    """Shorten what distributed logs in this process."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_Brief())
