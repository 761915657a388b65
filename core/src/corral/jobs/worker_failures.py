"""Workers that died below a launcher that lives: why, what they ran, and what helps. Pure.

Their nanny starts them again, so their job goes on and nothing is lost but time; but a task that kills four workers
fails, and Dask's KilledWorker does not say why they died.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from attrs import field, frozen
from dask.utils import format_bytes

from corral.jobs.record import JobRecord, Outcome

_MORE_MEMORY = "ask for more with memory=, or run fewer processes per job with processes="


@frozen(kw_only=True)
class Cause:
    """Why a worker died, in words; `cure` is what usually helps."""

    words: str
    cure: str = ""

    @classmethod
    def told_by(cls, message: Mapping[str, Any]) -> Self:
        """What a launcher reports (see `corral.launch.nanny.Death`)."""
        if message.get("memory_limit"):
            limit, used = int(message["memory_limit"]), int(message.get("memory_used") or 0)
            return cls(
                words=f"over the memory limit of {format_bytes(limit)}"
                + f" ({format_bytes(used)} in use)" * bool(used),
                cure=f"Its tasks need more memory than it has: {_MORE_MEMORY}.",
            )
        if module := message.get("module"):
            return cls(
                words=f"the job's Python has no module {str(module)!r}",
                cure="Install it where the jobs find it, send it to them with client.upload_file(), or name the Python "
                "that has it with python= or conda_env=.",
            )
        if message.get("words"):
            return cls(words=str(message["words"]))
        return cls.of_code(int(message.get("exit_code", 0)))

    @classmethod
    def of_code(cls, code: int) -> Self:
        """The end of a process: its exit code, or -N after signal N."""
        if code >= 0:
            return cls(
                words=f"exit code {code}",
                cure="A task, or a library that it uses, ended the process: sys.exit(), os._exit(), or exit() in C or "
                "Fortran.",
            )
        name = ""
        with suppress(ValueError):
            name = f" ({signal.Signals(-code).name})"
        if code == -signal.SIGKILL:
            cure = f"Something killed it, most often the kernel when memory runs out: {_MORE_MEMORY}."
        elif -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
            cure = "A library crashed in compiled code: the job's log shows the lines of Python that led there."
        else:
            cure = ""
        return cls(words=f"signal {-code}{name}", cure=cure)


@frozen(kw_only=True)
class WorkerFailure:
    """A worker that died while its job went on, with the evidence; it has what a `JobFailure` has."""

    #: The worker's job, as it was then.
    job: JobRecord
    #: The worker's name.
    worker: str
    #: ``over the memory limit of 2.00 GiB``, ``signal 11 (SIGSEGV)``, ``exit code 3``, ``the job's Python has no …``
    cause: str
    host: str = ""
    #: When, on the engine's clock.
    died_at: float = 0.0
    #: The keys of the tasks that it ran.
    tasks: tuple[str, ...] = ()
    #: The last lines of its job's log; empty if there is none.
    log_tail: tuple[str, ...] = ()
    #: What usually helps; empty if nothing is known.
    hint: str = ""
    outcome: Outcome = field(default=Outcome.DIED, init=False)

    @property
    def kind(self) -> object:
        """Equal for failures that are alike."""
        return (self.job.group, self.cause.partition(" (")[0])

    @property
    def headline(self) -> str:
        """Everything but the log, in one line."""
        host = f" on {self.host}" if self.host else ""
        tasks = f"; it ran {', '.join(self.tasks)}" if self.tasks else ""
        return f"worker {self.worker} of job {self.job.id}{host} died: {self.cause}{tasks}"

    def __str__(self) -> str:
        text = self.headline
        if self.log_tail:
            text += "\n  last lines of its job's log" + (f" ({self.job.log})" if self.job.log else "") + ":"
            text += "".join(f"\n    {line}" for line in self.log_tail)
        if self.hint:
            text += f"\n  {self.hint}"
        return text
