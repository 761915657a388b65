"""The help of commands, which is the docstring of a function."""

from __future__ import annotations

from typing import TypeVar

import click

from corral.text.docstrings import docstring

C = TypeVar("C", bound=click.Command)


def explained(command: C) -> C:
    """The command, with its function's docstring as its help also where Python has dropped that (-OO)."""
    if command.help is None and command.callback is not None:
        command.help = docstring(command.callback.__module__, command.callback.__name__)
    return command
