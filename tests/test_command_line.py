"""The page of the command line is what the commands say of themselves, and what it says of JSON is so."""

from __future__ import annotations

import re

import click
import command_line

from corral.cli import main


def test_the_page_is_made_from_the_commands() -> None:
    """``python tests/plugins/command_line.py`` writes it."""
    text = command_line.PAGE.read_text()
    assert command_line.page(text) == text


def test_every_command_that_prints_json_is_named() -> None:
    """In the sentence that says how many objects it prints."""
    head = command_line.PAGE.read_text().partition(command_line.BEGIN)[0]
    said = set(re.findall(r"`([a-z]+)`", head[head.index("Everything that lists") : head.index("`schema`")]))
    have = {
        name
        for name, command in main.commands.items()
        if any("--json" in each.opts for each in command.params if isinstance(each, click.Option))
    }
    assert said == have


def test_no_option_is_without_a_meaning() -> None:
    """A cell that is empty helps nobody."""
    assert re.findall(r"^\| `[^`]+` \| \|$", command_line.PAGE.read_text(), re.MULTILINE) == []
    assert len(re.findall(r"^## corral ", command_line.PAGE.read_text(), re.MULTILINE)) == len(main.commands)
