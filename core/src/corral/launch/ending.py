"""How a launcher ends: its exit codes, and what it says to the job's log."""

from __future__ import annotations

import enum
import sys


class Exit(enum.IntEnum):
    """Every exit code of the launcher, besides 128 + n for a signal that ended it at once."""

    #: As it was meant: drained, retired, stopped, or the cluster has ended.
    DONE = 0
    #: The workers could not start, or all of them failed.
    FAILED = 1
    #: The command line is wrong.
    USAGE = 2
    #: The scheduler cannot be reached, or was lost: sysexits.h calls it EX_UNAVAILABLE.
    UNAVAILABLE = 69


class Ended(Exception):
    """There is nothing more to do; carries the exit code and the last words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def say(message: str) -> None:
    """Write a line to the job's log."""
    sys.stderr.write(f"corral: {message}\n")
    sys.stderr.flush()
