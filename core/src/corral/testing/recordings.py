"""Declarations of what a batch system was asked, what it answered, and what that means.

Answers are the names of files in the plugin's folder of transcripts, in the order of the hook's commands; text that
is in no file is given as ``Completed(stdout="…")``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from corral.plugin.values import Allocation, Completed, Detected, JobId, JobState, JobStatus, Queue, Script
from corral.testing.driving import Answer, environment, transcript
from corral.testing.silence import SilentHooks

#: Whoever waits for workers gets it as an error.
_NEVER = "it will never start"


def _ids(values: Iterable[str | JobId]) -> tuple[JobId, ...]:
    return tuple(JobId(value) if isinstance(value, str) else value for value in values)


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _answers(values: Iterable[str | Completed]) -> tuple[str | Completed, ...]:
    answers = tuple(values)
    for answer in answers:
        if isinstance(answer, str) and "\n" in answer:
            raise ValueError(f"an answer is the name of a file. Give text as Completed(stdout=…), not as {answer!r}")
    return answers


@frozen(kw_only=True)
class Recording(ABC):
    """One hook's conversation, recorded."""

    hook: ClassVar[str]

    answers: tuple[str | Completed, ...] = field(default=(), converter=_answers, kw_only=False)

    def answers_from(self, folder: Path) -> list[Completed]:
        return [transcript(folder / answer) if isinstance(answer, str) else answer for answer in self.answers]

    @abstractmethod
    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        """Begin the conversation."""

    @abstractmethod
    def is_right(self, result: Any) -> None:
        """Fail unless this is what the recorded answers mean."""

    @abstractmethod
    def is_possible(self, result: Any) -> None:
        """Fail unless this is what some answers could mean."""

    def is_honest(self, result: Any) -> None:
        """Fail unless this may be said after a command that failed in a way that nobody foresaw."""
        self.is_right(result)

    def __str__(self) -> str:
        files = [answer if isinstance(answer, str) else "text" for answer in self.answers]
        return " ".join([self.hook, *files])


@frozen(kw_only=True)
class Submits(Recording):
    """`submit` for `count` jobs (as many as there are ids, unless said) got these ids."""

    hook = "submit"
    ids: tuple[JobId, ...] = field(converter=_ids)
    count: int = 0
    #: Which of several clusters or servers has them: `JobId.where`.
    where: str = ""

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.submit(script=script, count=self.count or len(self.ids))

    def is_right(self, result: Any) -> None:
        self.is_possible(result)
        assert list(self.ids) == result
        _are_there(result, self.where)

    def is_possible(self, result: Any) -> None:
        assert all(type(job_id) is JobId and job_id.text for job_id in result)
        assert 1 <= len(result) <= (self.count or len(self.ids)), "submit returns 1 to `count` ids"
        assert len(set(result)) == len(result), "two jobs have one id"


@frozen(kw_only=True)
class Polls(Recording):
    """`poll_status` of the jobs in `states` and `absent` found the former, in those states, and not the latter."""

    hook = "poll_status"
    states: Mapping[str, JobState]
    absent: tuple[JobId, ...] = field(default=(), converter=_ids)
    #: Those of which `JobStatus.hopeless` says that they will never start.
    hopeless: tuple[JobId, ...] = field(default=(), converter=_ids)
    #: Of jobs that have ended, where that is to be looked at.
    exit_codes: Mapping[str, int | None] = field(factory=dict)

    @property
    def asked(self) -> list[JobId]:
        return [*_ids(self.states), *self.absent]

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.poll_status(job_ids=self.asked)

    def is_right(self, result: Any) -> None:
        self.is_honest(result)
        hopeless = _hopeless(result)
        assert hopeless == set(self.hopeless), f"{hopeless} will never start, says JobStatus.hopeless"

    def is_honest(self, result: Any) -> None:
        # A command that was to tell which will never start has failed: nothing is said of that.
        self.is_possible(result)
        assert dict(self.states) == {job_id.text: status.state for job_id, status in result.items()}
        invented = _hopeless(result) - set(self.hopeless)
        assert not invented, f"{invented} will never start, says JobStatus.hopeless"
        codes = {text: result[JobId(text)].exit_code for text in self.exit_codes}
        assert dict(self.exit_codes) == codes
        for job_id, status in result.items():
            odd = status.state is JobState.COMPLETED and (status.exit_code or status.signal)
            odd = odd or (status.state is JobState.FAILED and status.exit_code == 0 and not status.signal)
            assert not odd, f"{job_id} is {status.state.value}, with exit code {status.exit_code}"

    def is_possible(self, result: Any) -> None:
        assert all(type(status) is JobStatus for status in result.values())
        assert set(result) <= set(self.asked), "poll_status speaks of jobs that it was not asked about"


def _hopeless(result: Mapping[JobId, JobStatus]) -> set[JobId]:
    return {job_id for job_id, status in result.items() if status.hopeless}


@frozen(kw_only=True)
class CancelsGone(Recording):
    """`cancel` of jobs that had ended or never were: no error."""

    hook = "cancel"
    ids: tuple[JobId, ...] = field(converter=_ids)

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.cancel(job_ids=list(self.ids))

    def is_right(self, result: Any) -> None:
        assert result is None

    def is_possible(self, result: Any) -> None:
        assert result is None

    def is_honest(self, result: Any) -> None:
        raise AssertionError("cancel returned although its command failed")


@frozen(kw_only=True)
class Finds(Recording):
    """`find_jobs` found these jobs by their name, or by its beginning and a star."""

    hook = "find_jobs"
    name: str
    ids: tuple[JobId, ...] = field(converter=_ids)
    #: Which of several clusters or servers has them: `JobId.where`.
    where: str = ""

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.find_jobs(name=self.name)

    def is_right(self, result: Any) -> None:
        assert sorted(self.ids) == sorted(result)
        _are_there(result, self.where)

    def is_possible(self, result: Any) -> None:
        assert all(type(job_id) is JobId and job_id.text for job_id in result)


@frozen(kw_only=True)
class Inside(Recording):
    """A job whose environment was `environ` (or a transcript of `env`) has this id and was granted that."""

    hook = "read_allocation"
    environ: Mapping[str, str] | str
    job_id: str
    hosts: tuple[str, ...] = field(converter=_words)
    #: Per node; None: the batch system does not say.
    cores: int | None = None
    memory: int | None = None
    #: Indices or UUIDs.
    gpus: tuple[str, ...] = field(default=(), converter=_words)
    #: Whose variables name them: ``nvidia``, ``amd``, ``intel``; empty: not to be looked at.
    gpu_makers: tuple[str, ...] = field(default=(), converter=_words)
    attempt: int = 0
    #: When the job will end; None: not to be looked at.
    ends: float | None = None

    def environ_from(self, folder: Path) -> dict[str, str]:
        return environment(folder / self.environ) if isinstance(self.environ, str) else dict(self.environ)

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.read_allocation(environ=self.environ_from(folder))

    def is_right(self, result: Any) -> None:
        assert (self.job_id, self.hosts) == (result.job_id.text, result.hosts)
        assert (self.cores, self.memory) == (result.cores, result.memory)
        assert (self.gpus, self.attempt) == (result.gpus.names, result.attempt)
        assert self.ends is None or self.ends == result.ends
        assert not self.gpu_makers or set(self.gpu_makers) == result.gpus.by_maker.keys()

    def is_possible(self, result: Any) -> None:
        assert result is None or (type(result) is Allocation and result.hosts)

    def is_honest(self, result: Any) -> None:
        assert (self.job_id, self.hosts) == (result.job_id.text, result.hosts)
        assert result.cores in (None, self.cores)
        assert result.memory in (None, self.memory)


@frozen(kw_only=True)
class Detects(Recording):
    """`detect` saw this version; None: it is another batch system, or none.

    Where the batch system is there and says no version, that is ``version=None, is_here=True``.
    """

    hook = "detect"
    version: str | None
    is_here: bool = field(kw_only=True)

    @is_here.default
    def _is_here(self) -> bool:
        return self.version is not None

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.detect()

    def is_right(self, result: Any) -> None:
        assert self.is_here == (result is not None), "it is here" if self.is_here else "it is not here"
        assert self.version == (result and result.version)

    def is_possible(self, result: Any) -> None:
        assert result is None or type(result) is Detected

    def is_honest(self, result: Any) -> None:
        assert result is None or result.version == self.version


@frozen(kw_only=True)
class DescribesQueues(Recording):
    """`describe_queues` listed these queues."""

    hook = "describe_queues"
    names: tuple[str, ...] = field(converter=_words)
    #: Attributes of `Queue`, by the queue's name, where they are to be looked at: bytes, seconds.
    limits: Mapping[str, Mapping[str, object]] = field(factory=dict)

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.describe_queues()

    def is_right(self, result: Any) -> None:
        assert sorted(self.names) == sorted(queue.name for queue in result)
        assert set(self.limits) <= set(self.names), "limits are declared of queues that are not listed"
        for queue in result:
            limits = dict(self.limits.get(queue.name, {}))
            assert limits == {name: getattr(queue, name) for name in limits}, f"of queue {queue.name}"

    def is_possible(self, result: Any) -> None:
        assert all(type(queue) is Queue for queue in result)

    def is_honest(self, result: Any) -> None:
        assert not result or sorted(self.names) == sorted(queue.name for queue in result)


@frozen(kw_only=True)
class ExplainsPending(Recording):
    """`explain_pending` gave an explanation that has these words; "never" among them: the job will never start."""

    hook = "explain_pending"
    job_id: str
    words: Sequence[str]

    def ask(self, hooks: SilentHooks, script: Script, folder: Path) -> Any:
        return hooks.explain_pending(job_id=JobId(self.job_id))

    def is_right(self, result: Any) -> None:
        assert all(word in result for word in self.words), f"{result!r} lacks one of {self.words}"
        assert result.startswith(_NEVER) == any("never" in word for word in self.words), (
            f"{result!r} is an error to whoever waits, and none if it begins with anything but {_NEVER!r}. Declare "
            f'that by "never" among the words, which are {self.words}'
        )

    def is_possible(self, result: Any) -> None:
        assert type(result) is str

    def is_honest(self, result: Any) -> None:
        self.is_possible(result)


def _are_there(job_ids: Sequence[JobId], where: str) -> None:
    """Fail unless each says that it is there; where nothing is declared, nothing is asked."""
    lost = [job_id.text for job_id in job_ids if where and job_id.where != where]
    assert not lost, f"JobId.where of {lost} is not {where!r}: polls and cancellations would go to another server"


def one_of_each(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """The first of every hook, of `find_jobs` by a name and by its beginning: enough where answers are the same."""
    kinds: dict[tuple[str, bool], Recording] = {}
    for each in recordings:
        kinds.setdefault((each.hook, isinstance(each, Finds) and each.name.endswith("*")), each)
    return tuple(kinds.values())


@frozen(kw_only=True)
class AskedFor:
    """A request, and the answer in which the batch system itself says what it was asked for. ::

        AskedFor(
            "#PBS -l mem=1000mb -l walltime=01:30:00",
            "qstat-f.txt",
            says=["Resource_List.mem = 1000mb", "Resource_List.walltime = 01:30:00"],
            memory=1000 * 2**20,
            walltime=5400,
        )

    Best are an amount where 1,000 and 1,024 differ, and an answer in another unit than the request's.
    """

    #: Lines of the job's script, as they were submitted.
    request: str = field(kw_only=False)
    #: The name of a transcript, or text.
    answer: str | Completed = field(kw_only=False)
    #: Words of the answer.
    says: Sequence[str] = field(converter=_words)
    #: Bytes per node; None: nothing is said of it.
    memory: int | None = None
    #: Seconds; None: nothing is said of it.
    walltime: int | None = None


@frozen(kw_only=True)
class UnknownWord:
    """How to put a state word that nobody knows into recorded answers of `poll_status`.

    `known` is replaced by `unknown` in them; that must change the state of the job `job_id`. Take as much of the row
    as is needed to meet no other.
    """

    answers: tuple[str | Completed, ...] = field(converter=_answers, kw_only=False)
    job_id: str
    known: str
    unknown: str

    def answers_from(self, folder: Path) -> list[Answer]:
        return list(_replaced(self.answers, folder, self.known, self.unknown))


@frozen(kw_only=True)
class GarbledRow:
    """How to spoil one row of recorded answers of `poll_status` so that it cannot be read, or not wholly.

    `known` is replaced by `garbled` in them, in the row of the job `job_id` alone. The answers are those of one of the
    `Polls`, which must find other jobs too.
    """

    answers: tuple[str | Completed, ...] = field(converter=_answers, kw_only=False)
    job_id: str
    known: str
    garbled: str

    def answers_from(self, folder: Path) -> list[str]:
        return _replaced(self.answers, folder, self.known, self.garbled)


def _replaced(answers: Sequence[str | Completed], folder: Path, known: str, other: str) -> list[str]:
    texts = [transcript(folder / each).stdout if isinstance(each, str) else each.stdout for each in answers]
    assert any(known in text for text in texts), f"{known!r} is in none of the answers"
    return [text.replace(known, other) for text in texts]
