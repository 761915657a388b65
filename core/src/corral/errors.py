"""Everything that corral raises. Each message says what failed, the evidence, and the next step."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from corral.text.printable import printable_lines

if TYPE_CHECKING:
    from corral.jobs.record import JobFailure
    from corral.plugin.values import Command, Completed


class CorralError(Exception):
    """The base class of all errors that corral raises."""

    def __str__(self) -> str:
        """Return the words, with what others have said in them as it may be shown."""
        return printable_lines(super().__str__())


# --- the user's request -----------------------------------------------------------------------------------------


class InvalidRequest(CorralError, ValueError):
    """An argument cannot be used; nothing was submitted."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        #: The argument's name, as the caller wrote it.
        self.argument = argument
        self.problem = problem


class UnknownBackend(CorralError, LookupError):
    """No backend plugin of that name, or none could be chosen."""

    def __init__(self, problem: str, *, name: str | None = None, installed: Sequence[str] = ()) -> None:
        super().__init__(problem)
        self.name = name
        self.installed = tuple(installed)


class NoAllocation(CorralError, LookupError):
    """This process is not running in a job, but what it was asked to do needs one."""


class TooFewRanks(CorralError):
    """A launcher started fewer processes than are needed."""


class PluginError(CorralError):
    """A plugin violates the contract."""

    def __init__(self, plugin: str, problem: str, *, distribution: str | None = None) -> None:
        origin = f" (distribution {distribution})" if distribution else ""
        super().__init__(f"plugin {plugin!r}{origin}: {problem}")
        self.plugin = plugin
        self.distribution = distribution
        self.problem = problem


class ParseError(CorralError, ValueError):
    """The batch system's answer, or a native request, could not be read."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(f"{problem}: {excerpt(text)}")
        self.problem = problem
        #: The whole text that could not be read.
        self.text = text


# --- one command ------------------------------------------------------------------------------------------------


class CommandError(CorralError):
    """A command of the batch system failed. Raised in the hook that yielded it."""

    #: The same command would fail again, whatever the batch system does.
    is_lasting = False

    def __init__(self, command: Command, problem: str) -> None:
        super().__init__(f"{excerpt(shlex.join(command.argv), 160)}: {problem}")
        self.command = command
        self.problem = problem


class CommandFailed(CommandError):
    """It exited with a non-zero code."""

    def __init__(self, command: Command, completed: Completed) -> None:
        said = excerpt(completed.stderr.strip() or completed.stdout.strip() or "it printed nothing")
        super().__init__(command, f"exit code {completed.returncode}: {said}")
        self.completed = completed


class CommandTimedOut(CommandError):
    """It was ended because it took too long; what it was asked to do may still happen."""

    def __init__(self, command: Command, timeout: float) -> None:
        super().__init__(command, f"no answer within {timeout:g} s")
        self.timeout = timeout


class CommandNotFound(CommandError):
    """There is no such program here, or on the host to which commands are carried."""

    is_lasting = True

    def __init__(self, command: Command, *, host: str = "", path: str = "") -> None:
        program = repr(command.argv[0])
        super().__init__(
            command,
            f"there is no {program} on {host}, nor where a login shell there would look (PATH is {path}). Is it a "
            "submit host? What must be loaded first belongs into ~/.bash_profile or ~/.profile there"
            if host
            else f"there is no {program} on PATH or it cannot be run; is this a submit host?",
        )
        #: Empty: this one.
        self.host = host


class CommandNotStarted(CommandError):
    """No process could be started for it: the user has as many here as allowed, or memory or open files ran out."""

    def __init__(self, command: Command, said: str, *, is_lasting: bool) -> None:
        cure = ". `ulimit -a` says what this host lets you have: end some of your processes here" * (not is_lasting)
        super().__init__(command, f"it could not be started: {said}{cure}")
        self.is_lasting = is_lasting


# --- the batch system's verdict ---------------------------------------------------------------------------------


class BatchSystemError(CorralError):
    """The batch system did not do what it was asked."""

    def __init__(self, problem: str, *, cause: CommandError | None = None) -> None:
        super().__init__(problem)
        #: The command that failed, with what it printed.
        self.cause = cause


class SubmitRejected(BatchSystemError):
    """It refused a submission and always will: an unknown queue, a wrong account, an impossible node."""


class BatchSystemUnavailable(BatchSystemError):
    """It did not answer; the same request may work later."""


class HostUnreachable(BatchSystemUnavailable, ConnectionError):
    """There is no way to the host that commands are carried to (``via=``) at present; it is tried again."""


class LoginRefused(BatchSystemError, ConnectionError):
    """That host does not let the user in, or may be another one: somebody has to do something about it."""


class LimitReached(BatchSystemError):
    """The user, account or queue has as many jobs as allowed; there will be room when some have ended."""


# --- jobs and workers -------------------------------------------------------------------------------------------


class JobsFailed(CorralError):
    """The workers that were asked for cannot come, because their jobs ended."""

    def __init__(self, problem: str, failures: Sequence[JobFailure] = ()) -> None:
        super().__init__(problem + _examples(failures))
        #: What is known of each job that failed, oldest first.
        self.failures = tuple(failures)


class NeverStarts(JobsFailed):
    """The batch system says that waiting jobs will never start: they ask for something that they cannot get."""

    def __init__(self, group: str, count: int, reason: str, cure: str) -> None:
        said = "" if reason in cure else f" ({reason})"
        stay = "It stays" if count == 1 else "They stay"
        super().__init__(
            f"{counted(count, 'job')} of group {group!r} will never start: {cure}{said}. "
            f"{stay} in the queue until you scale down or close the cluster"
        )
        #: In the batch system's words.
        self.reason = reason
        #: In a person's: what it means, which argument to change, and how.
        self.cure = cure


class WorkersLost(CorralError):
    """No worker is left in this allocation, and none will come."""


class BudgetSpent(CorralError):
    """The cluster has used all the core-hours that it may, or all the GPU-hours.

    It keeps the jobs that it has, and submits no more, or no more with GPUs.
    """

    def __init__(self, used: float, maximum: float, unit: str = "core-hours") -> None:
        self.used = used
        self.maximum = maximum
        #: ``"core-hours"`` or ``"GPU-hours"``.
        self.unit = unit
        stops = "nothing more is submitted" if unit == "core-hours" else "no more jobs with GPUs are submitted"
        super().__init__(
            f"{used:.2f} {unit} have been used, and {maximum:g} are allowed: {stops}. "
            f"Raise cluster.{self.limit} to go on; cluster.account() shows what they were used for"
        )

    @property
    def limit(self) -> str:
        """What to raise: ``"maximum_core_hours"`` or ``"maximum_gpu_hours"``."""
        return f"maximum_{self.unit.lower().replace('-', '_')}"


class WorkersNotReady(CorralError, TimeoutError):
    """The workers did not all come within the time-out; says where their jobs are."""

    def __init__(self, available: int, expected: int, timeout: float, where: str) -> None:
        super().__init__(f"{available} of {expected} workers after {timeout:g} s: {where}")
        self.available_workers = available
        self.expected_workers = expected
        self.timeout = timeout


class ClusterNotFound(CorralError, LookupError):
    """No cluster of that name can be connected to."""


class ClusterExists(CorralError):
    """A cluster of that name already exists."""


class SchedulerNotReady(CorralError, TimeoutError):
    """A cluster's scheduler does not answer: its job is waiting or starting, or cannot be reached."""


class CredentialsError(CorralError):
    """The credentials of a cluster cannot be written, read or trusted."""


class NotPrivate(CorralError, PermissionError):
    """A folder or file that must be the user's alone is not: others could read, write or replace it."""

    def __init__(self, path: os.PathLike[str], problem: str, cure: str) -> None:
        super().__init__(f"{os.fspath(path)} {problem}. {cure}")
        self.path = path
        self.problem = problem
        self.cure = cure


class UnreadableJournal(CorralError, ValueError):
    """A file that is no journal of a cluster, or is one of a later corral; says which."""


#: So many kinds of failures are shown by an example.
_KINDS_SHOWN = 3


def _examples(failures: Sequence[JobFailure]) -> str:
    """One example of each kind of failure, and how many there are: what is the same is told once."""
    kinds: dict[object, list[JobFailure]] = {}
    for failure in failures:
        kinds.setdefault(failure.kind, []).append(failure)
    shown = list(kinds.values())[:_KINDS_SHOWN]
    text = ""
    for alike in shown:
        text += f"\n{alike[0]}"
        if len(alike) > 1:
            text += f"\n(and {len(alike) - 1} more like it)"
    rest = len(failures) - sum(map(len, shown))
    return text + (f"\n(and {rest} more in cluster.failures)" if rest else "")


# --- words ------------------------------------------------------------------------------------------------------


def excerpt(text: str, limit: int = 600) -> str:
    """The text, or its beginning and end if it is long."""
    text = text.strip()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {text[-half:]}"


def counted(number: int, thing: str) -> str:
    """``1 worker``, ``2 workers``, ``1,000 workers``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'slurm'?``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
