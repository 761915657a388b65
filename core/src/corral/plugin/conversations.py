"""Conversations as values: change their commands, choose one, repeat one, or have one that asks nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TypeVar

from attrs import evolve

from corral.errors import CommandFailed
from corral.plugin.parsing import refusal_of_arrays
from corral.plugin.scripting import unsetting
from corral.plugin.values import Command, Completed, Conversation, Failure, FailureKind, JobId
from corral.text.logs import logger_of

T = TypeVar("T")

logger = logger_of()

#: What a site lacks that takes no arrays.
ARRAYS = "arrays"
#: Submissions in a row: jobs that start meanwhile are unknown until their ids are returned, and a cluster that closes
#: waits for the end of it.
IN_A_ROW = 20


def mapped(conversation: Conversation[T], change: Callable[[Command], Command]) -> Conversation[T]:
    """The same conversation with every command changed: a site's way to carry commands over ssh, say.

    Answers and thrown errors reach the inner conversation as they would without the wrapper. ::

        @hookimpl(wrapper=True)
        def submit(self, script, count):
            return mapped((yield), lambda command: over_ssh(command, "login1"))
    """
    try:
        command = next(conversation)
        while True:
            try:
                completed = yield change(command)
            except Exception as error:
                command = conversation.throw(error)
            else:
                command = conversation.send(completed)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        conversation.close()


def over_ssh(command: Command, host: str) -> Command:
    """The same command on another host, by the user's ``ssh``; for sites whose batch commands run elsewhere.

    What it reads, and how long it may take, stay as they are. Its folder and its variables are those of the other side,
    and so are the variables of the user that it may see: a `Command.inherit` leaves those of a login there. What it
    sets itself, `Command.env`, is among the arguments of ``ssh``, where others on both hosts may see it.

    Parameters
    ----------
    host
        As ``ssh`` takes it: a name, ``user@name``, or an alias of the user's configuration.
    """
    variables = {"LC_ALL": "C", **command.env}
    # ssh hands its words to a shell on the other side, as one line.
    line = shlex.join(["env", *(f"{name}={value}" for name, value in variables.items()), *command.argv])
    if command.inherit is not None:
        # That shell may be any.
        line = shlex.join(["sh", "-c", f"{unsetting(('PATH', *command.inherit))}; exec {line}"])
    if command.cwd is not None:
        line = f"cd {shlex.quote(command.cwd)} && {line}"
    return evolve(command, argv=["ssh", host, "--", line], env={}, cwd=None, inherit=None)


def answered(value: T) -> Conversation[T]:
    """A conversation that knows its answer and asks nothing: for the core's defaults."""
    return value
    yield  # pragma: no cover - what makes this a generator


def arrayed_or_alone(
    array: Conversation[list[JobId]] | None,
    alone: Callable[[], Conversation[JobId]],
    count: int,
    *,
    classify: Callable[[Completed], Failure | None],
    lacks: set[str],
) -> Conversation[list[JobId]]:
    """Submit an array or, where the site takes none, jobs one by one. ::

        @hookimpl
        def submit(self, script, count):
            array = self._array(script, min(count, self.max_array_size)) if self.arrays else None
            return (yield from arrayed_or_alone(
                array, lambda: self._alone(script), count, classify=answers.failure, lacks=self._lacks
            ))

    Parameters
    ----------
    array
        Submits the array; None: the user has said that the site takes none.
    alone
        Submits one job that is no element of an array.
    classify
        The plugin's `classify_failure`.
    lacks
        What the site has refused before. That it takes no arrays is added as soon as it has taken a job without.

    Raises
    ------
    CommandError, ParseError
        Of the array or the first job, or of one that may have been taken.
    """
    refusal = ""
    if array is not None and ARRAYS not in lacks:
        try:
            return (yield from array)
        except CommandFailed as error:
            # A limit or a doubt is that, whatever else is said of arrays: the array may even be there.
            failure = classify(error.completed)
            if failure is None or failure.kind is FailureKind.FATAL:
                refusal = refusal_of_arrays(f"{error.completed.stdout}\n{error.completed.stderr}")
            if not refusal:
                raise
    ids = yield from one_by_one(alone, count, classify)
    if refusal:
        lacks.add(ARRAYS)
        logger.warning(
            "no job arrays are taken here, each job is submitted by itself; backend_options={'arrays': False} says so "
            "from the beginning: %s",
            refusal,
        )
    return ids


def array_as_large_as_taken(
    submit: Callable[[int], Command],
    size: int,
    *,
    refused: str,
    limit: Conversation[int | None],
    setting: str,
    least: int = 2,
) -> Conversation[tuple[Completed, int]]:
    """Submit an array or, where that is too large, one of the size that the site allows; returns that size, too.

    Parameters
    ----------
    refused
        What the batch system says of too large an array: a regular expression.
    limit
        Asks how large an array may be; None: nobody says.
    setting
        What a site sets, as it writes that before the number (``MaxArraySize=``). It is named where the limit is below
        `least`, so that `arrayed_or_alone` does without.
    least
        An array of so many jobs is one.

    Raises
    ------
    CommandError, ParseError
    """
    try:
        return (yield submit(size)), size
    except CommandFailed as failure:
        if not re.search(refused, failure.completed.stderr):
            raise
        error = failure
    most = yield from limit
    if most is not None and most < least:
        said = f"{error.completed.stderr.rstrip()}\njob arrays are switched off here ({setting}{most})"
        raise CommandFailed(error.command, evolve(error.completed, stderr=said))
    if most is None or most >= size:
        raise error
    return (yield submit(most)), most


def one_by_one(
    alone: Callable[[], Conversation[JobId]], count: int, classify: Callable[[Completed], Failure | None]
) -> Conversation[list[JobId]]:
    """Submit jobs by a command for each, where the batch system knows no other way. ::

        @hookimpl
        def submit(self, script, count):
            return (yield from one_by_one(lambda: self._alone(script), count, self.classify_failure))

    At most twenty in a row: the core calls again for the rest, and knows these meanwhile. So polls and cancellations
    come in between, whatever the command budget.

    All have the same script, and so the same name. What the batch system refuses in words that the plugin knows was not
    taken: the jobs before it are returned. After any other failure nobody knows: it is raised, and the core looks for
    all of them by their name.

    Parameters
    ----------
    alone
        Submits one job.
    count
        How many are wanted.
    classify
        The plugin's `classify_failure`.

    Raises
    ------
    CommandError, ParseError
        Of the first job, or of one that may have been taken.
    """
    ids: list[JobId] = []
    while len(ids) < min(count, IN_A_ROW):
        try:
            ids.append((yield from alone()))
        except CommandFailed as error:
            failure = classify(error.completed)
            if not ids or failure is None or failure.kind is FailureKind.TRANSIENT:
                raise
            break
    return ids
