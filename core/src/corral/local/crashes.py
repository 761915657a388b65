"""Lets the tests kill or stop a process exactly where it would hurt: each such place has a name."""

from __future__ import annotations

import os
import signal

#: ``KILL forked,STOP before record``: the signals that processes send themselves, and where. Jobs never see it.
VARIABLE = "CORRAL_LOCAL_CRASH"


def crash_point(place: str) -> None:
    """Crash here if the tests want it."""
    for crash in os.environ.get(VARIABLE, "").split(","):
        name, _, where = crash.partition(" ")
        if where == place:
            os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
