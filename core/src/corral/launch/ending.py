"""How a launcher ends: its exit codes, and what it says to the job's log."""

from __future__ import annotations

import enum
import io
import logging
import os
import signal
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NoReturn

from corral.plugin.scripting import CANCELLED_BY
from corral.text.printable import printable_lines


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


#: Stands in the job's log before the words that a launcher becomes: what fails then is in a container, for example.
GOES_ON = "goes on as:"


def code_after(heard: Collection[int], environ: Mapping[str, str]) -> int:
    """What to end with, however well the workers have left, after signals with these numbers.

    Some batch systems take a job that they were told to cancel for one that has done its work if it ends with 0: the
    script then says which signal that was.
    """
    number = signal.Signals.__members__.get(environ.get(CANCELLED_BY, ""))
    return Exit.DONE if number is None or number not in heard else 128 + number


class Ended(Exception):
    """There is nothing more to do; carries the exit code and the last words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def say(message: str) -> None:
    """Write a line to the job's log, if it takes one: a full disk must not end the job."""
    with suppress(OSError):
        sys.stderr.write(f"corral: {printable_lines(message)}\n")
    flush()


def flush() -> bool:
    """Write out what has been printed; False if that cannot be."""
    done = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            done = False
    return done


def print_lines_at_once() -> None:
    """Have each printed line in the job's log at once: who is killed flushes nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def flush_all() -> None:
    """Write out what was printed, and what handlers of `logging` hold back."""
    loggers = [
        logging.root,
        *(each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)),
    ]
    for handler in dict.fromkeys(handler for each in loggers for handler in each.handlers):
        with suppress(Exception):
            handler.flush()
    flush()


def leave(code: int) -> NoReturn:
    """End the process with this exit code; Python's own would be 120 if the log cannot be written."""
    if not flush():
        os._exit(code)
    sys.exit(code)
