"""The values that the core, the plugins and the sites exchange.

Every class is frozen and keyword-only; change one with :func:`attrs.evolve`. Units are fixed here and nowhere
else: memory in bytes, durations in seconds, moments in seconds since the epoch. Everything counted in
:class:`Resources` is per node.
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import field, frozen

from corral.host.gpus import Gpus
from corral.text.printable import printable, printable_lines

T = TypeVar("T")


# Converters: what plugins pass as a list or a set is kept as something that cannot change.


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values)


def _lines(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(printable(value) for value in values)


def _gpus(values: Gpus | Sequence[str]) -> Gpus:
    return values if isinstance(values, Gpus) else Gpus.of(values)


def _mapping(values: Mapping[str, str]) -> dict[str, str]:
    return dict(values)


def _figures(values: Mapping[str, float]) -> dict[str, float]:
    return dict(values)


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


def _patterns(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


# --- what is asked for ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Resources:
    """What one job needs. A job is `nodes` times the rest."""

    nodes: int = 1
    #: Dask worker processes per node.
    processes: int = 1
    #: CPU cores per node, shared by its processes.
    cores: int = 1
    #: Bytes per node; None asks the batch system for nothing.
    memory: int | None = None
    #: GPUs per node.
    gpus: int = 0

    @property
    def workers(self) -> int:
        """Dask workers of a whole job."""
        return self.nodes * self.processes

    @property
    def threads(self) -> int:
        """Threads of each worker."""
        return self.cores // self.processes


@frozen(kw_only=True)
class Job:
    """A request for one job, in terms that are independent of any batch system."""

    #: Unique per submission; begins with a letter. Empty only in what `parse_resources` returns.
    name: str = ""
    #: What the job runs: an argument list, never a shell line.
    command: tuple[str, ...] = field(default=(), converter=_texts)
    resources: Resources = Resources()
    #: Seconds; None leaves it to the batch system.
    walltime: int | None = None
    queue: str | None = None
    account: str | None = None
    #: One log file per job lands here; None discards the output.
    log_directory: str | None = None
    #: The folder to which the script changes before any of the user's lines, if the node has it; `job_body` takes care
    #: of that. None: it stays where the batch system starts it.
    directory: str | None = None
    #: A folder of corral's own, shared by this host and the nodes, for batch systems that must be given one. It exists
    #: when the job is submitted.
    own_directory: str | None = None
    #: Exported by the job's script, in this order, as data: no expansion. Nothing else of the submitting
    #: environment may reach the job.
    environment: Mapping[str, str] = field(factory=dict, converter=_mapping)
    #: Shell lines before and after the command, the user's own.
    prologue: tuple[str, ...] = field(default=(), converter=_texts)
    epilogue: tuple[str, ...] = field(default=(), converter=_texts)
    #: Native directives, verbatim, without the prefix (``--qos=high``, not ``#SBATCH --qos=high``).
    extra_directives: tuple[str, ...] = field(default=(), converter=_texts)
    #: Names of directives to leave out; also the words memory, cores, nodes, walltime, gpus.
    skip: frozenset[str] = field(default=(), converter=_names)
    shebang: str = "#!/usr/bin/env bash"
    #: Hosts on which jobs like this keep dying; a backend asks for others if it can, and otherwise ignores this.
    excluded_hosts: tuple[str, ...] = field(default=(), converter=_texts)


@frozen(kw_only=True)
class Directive:
    """One line of a script's header."""

    #: What `Job.skip` compares with, exactly: ``mem``, ``cpus-per-task``, ``N``.
    name: str
    #: The whole line: ``#SBATCH --mem=4096M``.
    text: str


def _directives(values: Sequence[Directive]) -> tuple[Directive, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Script:
    """A rendered job; ``str(script)`` is the file that a person would submit."""

    #: The job's unique name, for `find_jobs`.
    name: str
    shebang: str = "#!/usr/bin/env bash"
    directives: tuple[Directive, ...] = field(default=(), converter=_directives)
    #: Shell text after the directives; exports ``CORRAL_JOB_ID``.
    body: str
    #: Where the job's output goes: a path in which ``{id}`` stands for the job's id; None if discarded.
    log: str | None = None

    def __str__(self) -> str:
        header = [self.shebang, *(directive.text for directive in self.directives)]
        return "\n".join(header) + "\n\n" + self.body


# --- what is known of a job -------------------------------------------------------------------------------------


@frozen(order=True)
class JobId:
    """A job's id: opaque to the core, and exactly the text that the job itself sees as ``CORRAL_JOB_ID``.

    Printed, it begins with the name of its batch system if that is not the cluster's: ``local:7_0``.
    """

    text: str
    #: Which of several clusters or servers has it (Slurm federations); not part of its identity.
    where: str = field(default="", eq=False, order=False)
    #: The core's name for a batch system that is some groups' own; empty for the cluster's. Backends never see it.
    system: str = ""

    def __str__(self) -> str:
        return f"{self.system}:{self.text}" if self.system else self.text


class JobState(enum.Enum):
    """The same twelve states for every batch system."""

    PENDING = "pending"
    HELD = "held"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    PREEMPTED = "preempted"
    NODE_FAILED = "node failed"
    CANCELLED = "cancelled"
    #: Listed with an unknown word (then it is alive, and the word is in `JobStatus.native`), or no longer listed at all
    #: (then the core has given it up). Never treated as COMPLETED.
    UNKNOWN = "unknown"

    @property
    def is_final(self) -> bool:
        """True if a batch system that reports this state will not run the job any more."""
        return self in _FINAL

    @property
    def is_waiting(self) -> bool:
        """True before the job has started."""
        return self in (JobState.PENDING, JobState.HELD)


_FINAL = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY,
        JobState.PREEMPTED,
        JobState.NODE_FAILED,
        JobState.CANCELLED,
    }
)


@frozen(kw_only=True)
class JobStatus:
    """What a batch system said about one job at one moment; its texts are safe to show."""

    state: JobState
    #: The batch system's own word (``CG``, ``hqw``, ``BOOT_FAIL``).
    native: str = field(default="", converter=printable)
    #: Why it waits or why it ended, in the batch system's words; empty if it gave none.
    reason: str = field(default="", converter=printable)
    exit_code: int | None = None
    #: The number of the signal that ended it.
    signal: int | None = None
    hosts: tuple[str, ...] = field(default=(), converter=_lines)
    submitted: float | None = None
    started: float | None = None
    #: When the batch system thinks that it may start.
    expected_start: float | None = None
    #: When it ended, or when its walltime will end it.
    ends: float | None = None
    #: Its state is final, but its processes may still be there: it was removed, say, and has a minute to end. Another
    #: job may take its place at once; who has asked for its end waits until it is gone.
    is_ending: bool = False
    #: Why it will never start, in plain words with the argument to change and the cure; empty if it will start, or may.
    #: Never set for something that could change by itself, as when other jobs end.
    hopeless: str = ""


# --- what plugins say of failures, queues and allocations -------------------------------------------------------


class FailureKind(enum.Enum):
    """What to do about a command that failed."""

    #: The batch system is down or busy: the same command may work later.
    TRANSIENT = "transient"
    #: A limit on jobs: there will be room when some have ended.
    LIMIT = "limit"
    #: It will never work: tell the user now.
    FATAL = "fatal"


@frozen(kw_only=True)
class Failure:
    """Why a command of the batch system failed."""

    kind: FailureKind
    #: The batch system's own words, without prefixes that repeat the command.
    message: str


@frozen(kw_only=True)
class Queue:
    """A queue (partition) as `describe_queues` found it. None: the batch system does not say."""

    name: str
    is_default: bool = False
    accepts_jobs: bool = True
    #: False: it takes jobs, and starts none at present.
    starts_jobs: bool = True
    #: Seconds that a job may ask for; None: any number, too.
    max_walltime: int | None = None
    #: Per node, the largest of its nodes; memory in bytes.
    cores: int | None = None
    memory: int | None = None
    gpus: int | None = None
    nodes: int | None = None
    free_nodes: int | None = None
    #: What one job may have in all, on all of its nodes together; memory in bytes.
    min_nodes: int | None = None
    max_nodes: int | None = None
    max_cores: int | None = None
    max_memory: int | None = None
    max_gpus: int | None = None
    #: The only accounts whose jobs it takes; empty: any, or the batch system does not say.
    accounts: tuple[str, ...] = field(default=(), converter=_texts)


@frozen(kw_only=True)
class Detected:
    """A batch system that answered."""

    #: None: it does not say.
    version: str | None = None
    #: What was seen: ``sbatch --version``.
    evidence: str = ""


@frozen(kw_only=True)
class Allocation:
    """What a job was granted, as seen from inside."""

    job_id: JobId
    #: The node that reads this first; never empty.
    hosts: tuple[str, ...] = field(converter=_texts)
    #: Per node; None: the batch system does not say.
    cores: int | None = None
    memory: int | None = None
    #: The GPUs of this node, by maker: what `visible_gpus` finds in the environment. A plain list of indices or UUIDs
    #: is taken for those of whoever made the node's GPUs. Empty: none, or not said.
    gpus: Gpus = field(default=Gpus(), converter=_gpus)
    #: When the batch system will end the job; None: not said (the core then adds the walltime to the start).
    ends: float | None = None
    #: 0 at first, one more with each requeue: a requeued job keeps its id.
    attempt: int = 0


# --- what a doctor finds ----------------------------------------------------------------------------------------


class Verdict(enum.Enum):
    """How good a finding is."""

    GOOD = "good"
    #: It may fail, now or later, or costs time.
    DOUBTFUL = "doubtful"
    #: A cluster cannot work like this.
    WRONG = "wrong"


@frozen(kw_only=True)
class Finding:
    """One thing that `corral doctor` has looked at; its texts are safe to show."""

    #: What was looked at, in a word or two: ``queue``, ``log folder``.
    subject: str = field(converter=printable)
    verdict: Verdict
    #: What was seen, with the evidence.
    text: str = field(converter=printable_lines)
    #: What to do; empty if it is good, and only then.
    cure: str = field(default="", converter=printable_lines)
    #: The numbers behind the text, for programs; names end with the unit: ``answer_s``.
    figures: Mapping[str, float] = field(factory=dict, converter=_figures)

    def __attrs_post_init__(self) -> None:
        if bool(self.cure) is (self.verdict is Verdict.GOOD):
            raise ValueError(f"finding {self.subject!r} is {self.verdict.value}, and its cure is {self.cure!r}")


# --- how hooks talk to the batch system -------------------------------------------------------------------------


@frozen(kw_only=True)
class Command:
    """A command to run on behalf of a hook, without a shell."""

    argv: tuple[str, ...] = field(converter=_texts, kw_only=False)
    #: Text for its standard input.
    stdin: str = ""
    #: Added to the environment.
    env: Mapping[str, str] = field(factory=dict, converter=_mapping)
    #: Seconds; None means the configured time-out.
    timeout: float | None = None
    cwd: str | None = None
    #: The user's variables that it may see, as shell patterns (``SBATCH_*``); None: all of them. For commands
    #: that pass their own environment on to the job.
    inherit: tuple[str, ...] | None = field(default=None, converter=_patterns)


@frozen(kw_only=True)
class Completed:
    """A command that has ended, and what it printed."""

    argv: tuple[str, ...] = field(default=(), converter=_texts)
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""

    def lines(self) -> list[str]:
        """The lines of standard output that are not blank, without trailing white space."""
        return [line.rstrip() for line in self.stdout.splitlines() if line.strip()]

    def last_line(self) -> str:
        """The last line that is not blank: wrappers print their banners first. Empty if there is none."""
        lines = self.lines()
        return lines[-1].strip() if lines else ""


#: A hook that talks: yields commands, is sent what they printed, returns its answer. If a command exits non-zero, does
#: not exist, takes too long or cannot be started, CommandFailed, CommandNotFound, CommandTimedOut or CommandNotStarted
#: is raised at the yield.
Conversation = Generator[Command, Completed, T]
