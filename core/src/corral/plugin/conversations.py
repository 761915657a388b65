"""Conversations as values: change their commands, or have one that asks nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from corral.plugin.values import Command, Conversation

T = TypeVar("T")


def mapped(conversation: Conversation[T], change: Callable[[Command], Command]) -> Conversation[T]:
    """The same conversation with every command changed: a site's way to carry commands over ssh, say.

    Answers and thrown errors reach the inner conversation as they would without the wrapper. ::

        @hookimpl(wrapper=True)
        def submit(self, script, count):
            return mapped((yield), over_ssh)

        def over_ssh(command):  # ssh hands its words to a shell on the other side, as one line
            return evolve(command, argv=["ssh", "login1", "--", shlex.join(command.argv)])
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


def answered(value: T) -> Conversation[T]:
    """A conversation that knows its answer and asks nothing: for the core's defaults."""
    return value
    yield  # pragma: no cover - what makes this a generator
