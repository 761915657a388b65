"""What a worker's process has used so far, of memory and of cores."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

#: What a worker says with every heartbeat: what `used` returns. A mapping, which makes no column of Dask's dashboard.
USED = "corral_used"
#: Programs that its tasks have run for longer than this, in seconds of cores, are not taken for an import's own.
_PROGRAMS = 1.0


def used() -> dict[str, Any]:
    """What this process has used since it began.

    Returns
    -------
    dict
        ``memory``: bytes, at their peak; what it shares with others counts, as it does for Dask's own limits.
        ``cores``: seconds, of all its threads. ``has_programs``: its tasks run programs, whose memory is not counted.
    """
    times = os.times()
    return {
        "memory": _memory_peak(),
        "cores": times.user + times.system,
        "has_programs": times.children_user + times.children_system > _PROGRAMS or _has_children(),
    }


def _memory_peak() -> int:
    # Not what getrusage says on Linux: that survives exec, and is a spawned worker's nanny's.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _has_children() -> bool:
    # Looked at only: whoever started them waits for them.
    with suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False
