"""Output that can be shown to strangers: without the names of users, hosts and projects.

Centres hold these for sensitive, and a bug report needs none of them. Each name becomes the same word wherever it
stands, so that a reader still sees what belongs together.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import TextIO

#: Variables in which people keep the project that their jobs are charged to.
_PROJECTS = ("SBATCH_ACCOUNT", "SLURM_ACCOUNT", "SALLOC_ACCOUNT", "PBS_ACCOUNT", "PROJECT", "LSB_DEFAULTPROJECT")


class Redaction:
    """What each name is called instead."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def hide(self, kind: str, *names: str | None) -> None:
        """Call each of these ``<kind>``; several of one kind are numbered."""
        for name in names:
            # Of a short or everyday word, hiding it would garble the text and hide nothing.
            if name and len(name) > 1 and name not in ("localhost", "root") and name not in self._names:
                number = self._counts[kind] = self._counts.get(kind, 0) + 1
                self._names[name] = f"<{kind}>" if number == 1 else f"<{kind} {number}>"

    def hide_what_is_known(self) -> None:
        """This user, this host, the configured projects, and the hosts and projects of all registered jobs."""
        from corral.cluster.registry import read
        from corral.host.names import host_names

        with contextlib.suppress(OSError, KeyError):
            self.hide("home", os.path.expanduser("~").rstrip("/"))
            self.hide("user", getpass.getuser())
        self.hide("host", *host_names(), socket.getfqdn())
        self.hide("project", *(os.environ.get(name) for name in _PROJECTS), *_configured_accounts())
        for entry in read()[0]:
            self.hide(
                "host", entry.host, entry.via.rpartition("/")[2], *(host for job in entry.jobs for host in job.hosts)
            )
            self.hide("project", *(asked.account for asked in entry.asked.values()))

    def __call__(self, text: str) -> str:
        from corral.batch.queues import accounts_told

        # Whatever command asked for the queues, and whether it lists them or fails.
        self.hide("project", *accounts_told())
        if not self._names:
            return text
        # The longest first: a host's full name before its short one.
        names = sorted(self._names, key=len, reverse=True)
        pattern = "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in names)
        return re.sub(pattern, lambda match: self._names[match[0]], text)


class _Filter:
    """A stream that redacts line by line, as names may come in pieces."""

    def __init__(self, stream: TextIO, redaction: Redaction) -> None:
        self._stream = stream
        self._redaction = redaction
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._stream.write(self._redaction(line) + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def finish(self) -> None:
        self._stream.write(self._redaction(self._rest))
        self._rest = ""
        self._stream.flush()

    def isatty(self) -> bool:
        return False


@contextlib.contextmanager
def redacted(redaction: Redaction) -> Iterator[None]:
    """Redact what is printed meanwhile, errors too."""
    out, err = _Filter(sys.stdout, redaction), _Filter(sys.stderr, redaction)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.finish()
            err.finish()


def _configured_accounts() -> Iterator[str]:
    import dask.config

    section = dask.config.get("corral", default=None) or {}
    backends = section.get("backends") or {}
    for part in (section, *backends.values()):
        if isinstance(part, dict) and isinstance(part.get("account"), str):
            yield part["account"]
