"""What corral says in Python's log, and of what: each record has attributes that name the cluster, the group, the job.

docs/logging.md describes them for users. Importing this adds no handler and sets no level: both are the program's.
"""

from __future__ import annotations

import logging
from typing import Any

#: What a record may be about. Its attributes are called ``corral_cluster`` and so on: `logging` has none of its own
#: that begin so, and a formatter that names one finds it in every record, None where it says nothing.
FACTS = ("cluster", "group", "job", "worker", "host", "backend")
PREFIX = "corral_"


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose methods also take what the message is about, by the names of `FACTS`.

    ``logger.warning("submission postponed: %s", error, cluster="corral-1", group="gpu")`` says "cluster corral-1:
    submission postponed: …". Several jobs, workers or hosts are a tuple; the attribute has spaces between them.
    """

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:
        if not self.isEnabledFor(level):
            return
        about = {fact: _text(more.pop(fact, None)) for fact in FACTS}
        cluster, words = about["cluster"], str(msg)
        # Some have it in their sentence: "cluster %s has not closed".
        if cluster is not None and "cluster %s" not in words:
            words, args = f"cluster %s: {words}", (cluster, *args)
        extra = {f"{PREFIX}{fact}": value for fact, value in about.items()} | dict(more.pop("extra", None) or {})
        # The line that is told is that of the caller.
        more["stacklevel"] = more.get("stacklevel", 1) + 1
        self.logger.log(level, words, *args, extra=extra, **more)


def logger_of(name: str = "corral") -> Log:
    """The logger of this name, which is ``corral`` or below it."""
    return Log(logging.getLogger(name), {})


def _text(value: object) -> str | None:
    if value is None:
        return None
    return " ".join(map(str, value)) if isinstance(value, tuple | list | set | frozenset) else str(value)
