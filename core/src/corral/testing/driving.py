"""Conversations driven by recorded answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from corral.errors import CommandFailed, CommandNotFound, CommandTimedOut, excerpt
from corral.plugin.values import Command, Completed, Conversation

T = TypeVar("T")

#: What a command answers: text on standard output, a transcript's path, a Completed (thrown as CommandFailed if its
#: code is not 0), or an exception to throw.
Answer = str | Path | Completed | Exception | type[CommandTimedOut] | type[CommandNotFound]


class Mismatch(AssertionError):
    """The conversation and the answers that were given for it do not fit."""


def drive(conversation: Conversation[T], answers: Sequence[Answer] | Mapping[str, Answer] = ()) -> T:
    r"""Drive a conversation to its end, and return its answer. ::

        assert [JobId("77_0")] == drive(slurm.submit(script, count=1), ["77;gpu\n"])
        drive(slurm.poll_status(ids), {"squeue": HERE / "squeue.txt", "scontrol": CommandTimedOut})

    Parameters
    ----------
    answers
        In the order of the commands; all of them must be asked for. Or by the beginning of the command line: the
        longest that fits, as often as it is asked for.

    Raises
    ------
    Mismatch
        A command has no answer, or an answer had no command.
    """
    if isinstance(answers, Mapping):
        return converse(conversation, lambda command: _by_command(command, answers))
    asked: list[Command] = []

    def in_order(command: Command) -> Answer:
        asked.append(command)
        if len(asked) > len(answers):
            raise Mismatch(f"{len(answers)} answers were given, but the conversation asked:\n{_lines(asked)}")
        return answers[len(asked) - 1]

    result = converse(conversation, in_order)
    if len(asked) < len(answers):
        raise Mismatch(f"{len(answers)} answers were given, but the conversation only asked:\n{_lines(asked)}")
    return result


def converse(conversation: Conversation[T], answer: Callable[[Command], Answer]) -> T:
    """Drive a conversation to its end; `answer` is asked for each command. What it raises ends everything."""
    try:
        command = next(conversation)
        while True:
            completed = completed_or_error(command, answer(command))
            if isinstance(completed, Completed):
                command = conversation.send(completed)
            else:
                command = conversation.throw(completed)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        conversation.close()


def completed_or_error(command: Command, answer: Answer) -> Completed | Exception:
    """What the runner would send, or throw, for this answer to that command."""
    match answer:
        case str():
            return Completed(argv=command.argv, stdout=answer)
        case Path():
            return completed_or_error(command, transcript(answer))
        case Completed(returncode=0):
            return answer
        case Completed():
            return CommandFailed(command, answer)
        case Exception():
            return answer
        case _ if answer is CommandTimedOut:
            return CommandTimedOut(command, 60.0)
        case _:
            return CommandNotFound(command)


def transcript(path: Path) -> Completed:
    """Read a recorded answer. ::

        $ squeue -h -j 1,2
        1|RUNNING
        [stderr]
        squeue: error: Invalid job id specified
        [rc=1]

    Where nothing tells standard output from standard error, all that a command printed is taken for output if it
    succeeded, and for errors if it failed. Without a last line that says its exit code, it succeeded.
    """
    recorded = _TRANSCRIPT.fullmatch(path.read_text())
    if recorded is None:
        raise Mismatch(
            f"{path} is not a transcript: it must begin with '$ command' and end with '[rc=N]'. Where that is 0, the "
            "end of a line suffices"
        )
    code = int(recorded["code"] or 0)
    printed, marker, errors = (recorded["whole"] or recorded["printed"] or "").partition("[stderr]\n")
    if code and not marker:
        printed, errors = "", printed
    return Completed(argv=_words(recorded["command"]), returncode=code, stdout=printed, stderr=errors)


#: Whole lines without a code, or anything with one: what was cut short proves nothing.
_TRANSCRIPT = re.compile(
    r"\$ (?P<command>[^\n]*)\n(?:(?P<whole>(?:(?!\[rc=)[^\n]*\n)*)|(?P<printed>.*?)\[rc=(?P<code>-?\d+)\]\s*)",
    re.DOTALL,
)


def environment(path: Path) -> dict[str, str]:
    """Read the ``NAME=value`` lines of a transcript of `env`."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))


def one_by_one(answers: Sequence[Answer]) -> Callable[[Command], Answer]:
    """Answer commands in that order; a conversation that wants more never ends."""
    rest = iter(answers)

    def answer(command: Command) -> Answer:
        try:
            return next(rest)
        except StopIteration:
            raise Mismatch(f"the conversation asks without end: {shlex.join(command.argv)}") from None

    return answer


def noted(asked: list[Command], answer: Callable[[Command], Answer]) -> Callable[[Command], Answer]:
    """The same answers; what is asked is added to `asked`."""

    def ask(command: Command) -> Answer:
        asked.append(command)
        return answer(command)

    return ask


def _by_command(command: Command, answers: Mapping[str, Answer]) -> Answer:
    line = shlex.join(command.argv)
    fitting = [beginning for beginning in answers if line.startswith(beginning)]
    if not fitting:
        raise Mismatch(f"no answer was given for: {line}\nThere are answers for: {', '.join(answers)}")
    return answers[max(fitting, key=len)]


def _lines(commands: Sequence[Command]) -> str:
    return "\n".join(f"  $ {excerpt(shlex.join(command.argv))}" for command in commands) or "  nothing"


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
