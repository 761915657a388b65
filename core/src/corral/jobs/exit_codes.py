"""What jobs write when they end: their exit codes, beside their logs (see `corral.plugin.scripting`).

So it is known at once, and without a question, that a job has ended. What its end means is the batch system's to say,
if it can be asked.
"""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from corral.host.files import HERE, Files
from corral.jobs.record import JobRecord
from corral.plugin.values import JobId, JobState, JobStatus

#: A folder is listed no more often than that this takes a fiftieth of the time.
_SHARE = 50.0


def exit_file(record: JobRecord) -> Path | None:
    """Where a job writes its exit code; None if it has no log."""
    return None if record.log is None else Path(record.log).parent / f"{record.id.text}.exit"


class ExitFiles:
    """Looks for exit codes of jobs; one listing of a folder for all of its jobs, which is what file servers like."""

    def __init__(self) -> None:
        #: What was told already: a job that is requeued ends more than once.
        self._told: dict[Path, int] = {}
        self._next: dict[Path, float] = {}

    def look(self, records: Iterable[JobRecord], files: Files = HERE) -> dict[JobId, int]:
        """Exit codes that were not there the last time. Reads files: not on an event loop."""
        wanted: dict[Path, dict[str, JobId]] = defaultdict(dict)
        for record in records:
            if (path := exit_file(record)) is not None:
                wanted[path.parent][path.name] = record.id
        found: dict[JobId, int] = {}
        for folder, names in wanted.items():
            began = time.monotonic()
            if began < self._next.get(folder, 0.0):
                continue
            known = {name: self._told.get(folder / name) for name in names}
            for name, (written, text) in files.complete_lines(str(folder), known).items():
                with suppress(ValueError):
                    self._told[folder / name] = written
                    found[names[name]] = int(text)
            ended = time.monotonic()
            self._next[folder] = ended + _SHARE * (ended - began)
        return found


def remove(records: Iterable[JobRecord], files: Files = HERE) -> None:
    """Remove what these jobs have written: it was read, or says nothing new. No link is followed."""
    files.remove_own([str(path) for record in records if (path := exit_file(record)) is not None])


def evidence(record: JobRecord, code: int) -> JobStatus | None:
    """How the job ended, by its exit code alone; None if only the batch system can say.

    A script that fails before any worker came, and not by a signal, has failed by itself. All else may have been a
    cancellation, a preemption or the walltime.
    """
    # 128 + n may be signal n. What is more is none: Apptainer's own failures are 255.
    is_failure = 1 <= code <= 127 or code > 128 + signal.SIGRTMAX
    if record.has_ended or record.connected_at is not None or not is_failure:
        return None
    return JobStatus(state=JobState.FAILED, exit_code=code, hosts=record.status.hosts)
