"""Lets the tests kill a process exactly where they want: each place at which it would hurt has a name."""

from __future__ import annotations

import os
import signal

#: Names the place at which a process kills itself, as ``kill -9`` would. Jobs never see it.
VARIABLE = "CORRAL_LOCAL_CRASH"


def crash_point(name: str) -> None:
    """Die here if the tests want it."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
