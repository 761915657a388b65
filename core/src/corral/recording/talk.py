"""Conversations that are written down while they are held."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import field, frozen

from corral.batch.budget import CommandBudget, Kind
from corral.batch.runner import Runner
from corral.errors import CommandFailed
from corral.plugin.values import Command, Completed, Conversation


@frozen(kw_only=True)
class NotingRunner(Runner):
    """Runs commands, and keeps what they printed."""

    answers: list[Completed] = field(factory=list)
    #: Of commands that printed nothing to keep: they hung, or are not there.
    unanswered: list[str] = field(factory=list)

    async def run(self, command: Command) -> Completed:
        """Run one command to its end, and note its answer."""
        try:
            completed = await super().run(command)
        except CommandFailed as error:
            self.answers.append(error.completed)
            raise
        except Exception as error:
            self.unanswered.append(str(error))
            raise
        self.answers.append(completed)
        return completed


@frozen(kw_only=True)
class Taken:
    """One hook's conversation, as it went."""

    #: What it was about, as its files are called: ``poll-running``.
    title: str
    hook: str
    arguments: dict[str, Any] = field(factory=dict)
    answers: list[Completed] = field(factory=list)
    unanswered: list[str] = field(factory=list)
    result: Any = None
    #: What the hook raised.
    error: Exception | None = None

    @property
    def is_good(self) -> bool:
        """The hook returned, and all that it was told is known."""
        return self.error is None and not self.unanswered


async def held(
    title: str,
    hook: str,
    conversation: Callable[[], Conversation[Any]],
    runner: Runner,
    *,
    budget: CommandBudget | None = None,
    first: Kind = Kind.MORE,
) -> Taken:
    """Hold a conversation to its end; what its hook raises is part of it: it may be far from finished.

    Parameters
    ----------
    budget, first
        The ledger of commands, and what the first of these is there.
    """
    noting = NotingRunner(timeout=runner.timeout, enclosing=runner.enclosing, via=runner.via)
    result, problem = None, None
    try:
        result = await noting.converse(conversation(), _admission(budget, first))
    except Exception as error:
        problem = error
    return Taken(
        title=title, hook=hook, answers=noting.answers, unanswered=noting.unanswered, result=result, error=problem
    )


def _admission(budget: CommandBudget | None, first: Kind) -> Callable[[], Awaitable[None]] | None:
    if budget is None:
        return None
    kinds = itertools.chain([first], itertools.repeat(Kind.MORE))

    async def admit() -> None:
        await budget.wait(next(kinds))

    return admit


def repeated(conversation: Conversation[Any], answers: list[Completed]) -> Any:
    """The same conversation once more, on answers that are known.

    Raises
    ------
    LookupError
        It asks more than was answered.
    """
    rest = iter(answers)
    try:
        command = next(conversation)
        while True:
            answer = next(rest, None)
            if answer is None:
                raise LookupError(f"it asks more than was answered: {command.argv}")
            command = (
                conversation.throw(CommandFailed(command, answer)) if answer.returncode else conversation.send(answer)
            )
    except StopIteration as stop:
        return stop.value
    finally:
        conversation.close()
