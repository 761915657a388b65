"""Declarations for the conformance kit, made of what was recorded: each is what the backend reads in the very files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pluggy
from attrs import evolve, field, frozen

from corral.plugin import parsing
from corral.plugin.values import Completed, JobId, JobState, JobStatus, Script
from corral.recording.talk import Taken, repeated
from corral.recording.transcripts import file_names, written

#: What no batch system prints of a state.
UNKNOWN_WORD = "MOLTING"
_SCRIPT = Script(name="dask-recorded", body="")
_ENVIRONMENT = "environment.txt"


@frozen(kw_only=True)
class Recorded:
    """What is written: files, and the lines that say what they mean."""

    files: Mapping[str, str]
    #: Python, for the body of a class that derives from `BackendConformance`.
    declarations: str


@frozen(kw_only=True)
class _Read:
    """A conversation, as its files have it."""

    taken: Taken
    files: Sequence[str]
    answers: Sequence[Completed]
    arguments: Mapping[str, Any]
    #: What the hook returns on these answers; None if it raises.
    result: Any = None
    problem: str = ""


@frozen(kw_only=True)
class Declarer:
    """Writes down what a backend makes of answers that have been made fit to be seen."""

    manager: pluggy.PluginManager
    #: What text becomes that strangers may see.
    redact: Callable[[str], str]
    _files: dict[str, str] = field(factory=dict, init=False)

    def declare(self, taken: Sequence[Taken], inside: Sequence[Mapping[str, Any]]) -> Recorded:
        """Files and declarations of a life.

        Parameters
        ----------
        inside
            What jobs told; the first of which something can be made is declared.
        """
        names = file_names((each.title, len(each.answers)) for each in taken)
        read = [self._read(each, files) for each, files in zip(taken, names)]
        lines = [line for each in read for line in self._line(each)]
        lines += self._inside(inside)
        declared = ["recordings = (", *(f"    {line}" for line in lines), ")"]
        polls = [each for each in read if each.taken.hook == "poll_status" and each.result]
        declared += self._words(polls) or [
            "# unknown_word, garbled_row: no poll shows how to spoil a row; see the guide"
        ]
        refusals = [each for each in read if each.taken.title.startswith("refused")]
        declared += _failures(refusals)
        return Recorded(files=dict(self._files), declarations="\n".join(declared) + "\n")

    def _read(self, taken: Taken, files: Sequence[str]) -> _Read:
        answers = [self._redacted(answer) for answer in taken.answers]
        self._files.update(zip(files, map(written, answers)))
        arguments = {name: self._argument(value) for name, value in taken.arguments.items()}
        read = _Read(taken=taken, files=files, answers=answers, arguments=arguments)
        if taken.unanswered:
            return evolve(read, problem="; ".join(taken.unanswered))
        if taken.title.startswith("refused"):
            return read
        try:
            return evolve(read, result=self._asked(read, answers))
        except Exception as error:
            return evolve(read, problem=f"{taken.hook} raised {_said(error)}")

    def _asked(self, read: _Read, answers: Sequence[Completed]) -> Any:
        return repeated(getattr(self.manager.hook, read.taken.hook)(**read.arguments), list(answers))

    def _redacted(self, answer: Completed) -> Completed:
        return evolve(
            answer,
            argv=[self.redact(word) for word in answer.argv],
            stdout=self.redact(answer.stdout),
            stderr=self.redact(answer.stderr),
        )

    def _argument(self, value: Any) -> Any:
        match value:
            case str():
                return self.redact(value)
            case JobId():
                return evolve(value, text=self.redact(value.text), where=self.redact(value.where))
            case list():
                return [self._argument(each) for each in value]
            case Script():
                return evolve(_SCRIPT, name=value.name)
        return value

    # --- the lines ----------------------------------------------------------------------------------------------

    def _line(self, read: _Read) -> Iterator[str]:
        if read.taken.title.startswith("refused"):
            return
        files = _list(read.files)
        if read.problem:
            yield from _comment(f"{', '.join(read.files) or read.taken.title}: {read.problem}")
            return
        result, arguments = read.result, read.arguments
        match read.taken.hook:
            case "submit":
                count = arguments["count"]
                more = f"count={count}, " if count != len(result) else ""
                yield f"Submits({files}, {more}ids={_list(result)}),"
            case "poll_status":
                absent = [each for each in arguments["job_ids"] if each not in result]
                more = f", absent={_list(absent)}" if absent else ""
                states = ", ".join(
                    f'"{job_id.text}": JobState.{status.state.name}' for job_id, status in result.items()
                )
                yield f"Polls({files}, states={{{states}}}{more}),"
            case "cancel" if read.taken.title.startswith("cancel-one"):
                yield from _comment(
                    f"{', '.join(read.files)}: what is said when {arguments['job_ids'][0]} is cancelled"
                )
            case "cancel":
                yield f"CancelsGone({files}, ids={_list(arguments['job_ids'])}),"
            case "find_jobs":
                yield f"Finds({files}, name={_text(arguments['name'])}, ids={_list(result)}),"
            case "detect":
                version = _text(result.version) if result and result.version else None
                more = ", is_here=True" if result and not version else ""
                yield f"Detects({files}, version={version}{more}),"
            case "describe_queues":
                yield f"DescribesQueues({files}, names={_list(queue.name for queue in result)}),"
            case "explain_pending":
                words = re.findall(r"[A-Za-z]{4,}", result)[:3]
                yield f"ExplainsPending({files}, job_id={_text(arguments['job_id'].text)}, words={_list(words)}),"

    def _inside(self, inside: Sequence[Mapping[str, Any]]) -> list[str]:
        """Of one job: the environments of others differ by their numbers."""
        problems: list[str] = []
        for said in inside:
            answers = [self._redacted(Completed(**each)) for each in said["answers"]]
            environ = {name: self.redact(value) for name, value in said["environ"].items()}
            granted, problem = None, said["problem"]
            try:
                granted = repeated(self.manager.hook.read_allocation(environ=environ), answers)
            except Exception as error:
                problem = _said(error)
            self._files[_ENVIRONMENT] = written(
                Completed(argv=["env"], stdout="".join(f"{name}={value}\n" for name, value in environ.items()))
            )
            if granted is None:
                problems = _comment(f"{_ENVIRONMENT}: read_allocation {problem or 'sees no job of its own here'}")
                continue
            [names] = file_names([("inside", len(answers))])
            self._files.update(zip(names, map(written, answers)))
            given = [_list(names)] if names else []
            given += [
                f'environ="{_ENVIRONMENT}"',
                f"job_id={_text(granted.job_id.text)}",
                f"hosts={_list(granted.hosts)}",
            ]
            given += [
                f"{name}={value}" for name in ("cores", "memory") if (value := getattr(granted, name)) is not None
            ]
            given += [f"gpus={_list(granted.gpus.names)}"] if granted.gpus.names else []
            given += [f"attempt={granted.attempt}"] if granted.attempt else []
            return [f"Inside({', '.join(given)}),"]
        return problems or _comment("no job told what it finds inside: record `env` of one, and declare an Inside")

    # --- rows that are spoilt -----------------------------------------------------------------------------------

    def _words(self, polls: Sequence[_Read]) -> list[str]:
        """How to put an unknown word into a recorded row, and how to spoil one."""
        found: dict[str, str] = {}
        for read in sorted(polls, key=lambda each: -len(each.result)):
            for job_id, status in read.result.items():
                if "unknown_word" not in found and (line := self._unknown_word(read, job_id, status)):
                    found["unknown_word"] = line
                if "garbled_row" not in found and len(read.result) > 1 and (line := self._garbled(read, job_id)):
                    found["garbled_row"] = line
        return [f"{name} = {line}" for name, line in sorted(found.items(), reverse=True)]

    def _unknown_word(self, read: _Read, job_id: JobId, status: JobStatus) -> str:
        if not status.native:
            return ""
        for row in _rows(read, job_id):
            for known in _around(row, status.native, job_id.text):
                unknown = _replaced(known, status.native, UNKNOWN_WORD)
                after = self._changed(read, known, unknown, [job_id])
                now = None if after is None else after.get(job_id)
                if now is not None and now.state is JobState.UNKNOWN and now.native and now.native in unknown:
                    return (
                        f"UnknownWord({_list(read.files)}, job_id={_text(job_id.text)}, known={_text(known)}, "
                        f"unknown={_text(unknown)})"
                    )
        return ""

    def _garbled(self, read: _Read, job_id: JobId) -> str:
        others = {each: status for each, status in read.result.items() if each != job_id}
        native = read.result[job_id].native
        ways = (
            (known, garbled)
            for row in _rows(read, job_id)
            for known in _around(row, native, job_id.text)
            for garbled in (known[: len(known) // 2], known[:-1], f"?{known}", known[:1])
        )
        for known, garbled in ways:
            parsing.tell_again()
            with _told() as told:
                after = self._changed(read, known, garbled, read.arguments["job_ids"])
            if after is None or not told:
                continue
            spoilt = after.pop(job_id, None)
            if after == others and (spoilt is None or spoilt.state is JobState.UNKNOWN):
                return (
                    f"GarbledRow({_list(read.files)}, job_id={_text(job_id.text)}, known={_text(known)}, "
                    f"garbled={_text(garbled)})"
                )
        return ""

    def _changed(self, read: _Read, known: str, other: str, job_ids: Sequence[JobId]) -> dict[JobId, JobStatus] | None:
        """What a poll of these jobs says when its answers were changed."""
        if known == other or sum(answer.stdout.count(known) for answer in read.answers) != 1:
            return None
        answers = [Completed(stdout=answer.stdout.replace(known, other)) for answer in read.answers]
        changed = evolve(read, arguments={"job_ids": list(job_ids)})
        try:
            return dict(self._asked(changed, [*answers, *[Completed()] * 20]))
        except Exception:
            return None


def _failures(refusals: Sequence[_Read]) -> list[str]:
    lines = []
    for read in refusals:
        kind = getattr(read.taken.result, "kind", None)
        lines.append(f'    "{read.files[-1]}": {None if kind is None else f"FailureKind.{kind.name}"},')
        if kind is None:
            lines += [f"    {line}" for line in _comment("classify_failure knows none of its words")]
    return ["failures = {", *lines, "}"] if lines else []


def _rows(read: _Read, job_id: JobId) -> Iterator[str]:
    """Lines of the answers that name the job."""
    for answer in read.answers:
        for line in answer.stdout.splitlines():
            if re.search(rf"(?<!\w){re.escape(job_id.text)}(?!\w)", line):
                yield line


def _around(row: str, word: str, job_id: str) -> Iterator[str]:
    """The word with as little of its row around it as tells it from others, and more and more of it."""
    start = row.find(job_id)
    for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", row):
        first, last = min(start, match.start()), max(start + len(job_id), match.end())
        yield row[first:last]
    yield row


def _replaced(text: str, word: str, other: str) -> str:
    """The last of its kind: an id or a name may come before it."""
    *before, after = re.split(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    return f"{word.join(before)}{other}{after}" if before else text


@contextmanager
def _told() -> Iterator[list[str]]:
    """What is said of rows that were passed over."""
    told: list[str] = []

    class _Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "passed over" in record.getMessage():
                told.append(record.getMessage())

    listener, logger = _Listener(), logging.getLogger("corral")
    before = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield told
    finally:
        logger.removeHandler(listener)
        logger.propagate = before


def _list(values: Any) -> str:
    return f"[{', '.join(_text(value.text if isinstance(value, JobId) else value) for value in values)}]"


def _text(value: str) -> str:
    """As a formatter of Python writes it."""
    plain = repr(value)
    return plain if '"' in value or plain[0] == '"' else f'"{plain[1:-1]}"'


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in text.splitlines()]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
