"""The page of the command line, made from the commands themselves: what they say with --help, in one place.

``python tests/plugins/command_line.py`` writes the page; a test compares.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from corral.cli import main

PAGE = Path(__file__).parents[2] / "docs/command-line.md"
BEGIN = "<!-- From here on made by tests/plugins/command_line.py. -->"

#: Cells of tables and text of pages take these for markup.
_MARKUP = re.compile(r"([*_<>|`\\\[\]#])")
#: In a table, also within code.
PIPE = "\\|"


def page(text: str) -> str:
    """The page, with its end made anew."""
    head = text.partition(BEGIN)[0]
    return f"{head}{BEGIN}\n\n" + "\n".join(_command(name) for name in sorted(main.commands))


def _command(name: str) -> str:
    command = main.commands[name]
    context = click.Context(command, info_name=f"corral {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))]
    lines = [f"## corral {name}", "", f"`corral {name} {usage}`".rstrip(), ""]
    for paragraph in paragraphs:
        lines += [_escaped(paragraph), ""]
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        lines += ["| option | meaning |", "| --- | --- |", *(_row(each, context) for each in options), ""]
    return "\n".join(lines)


def _row(option: click.Option, context: click.Context) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
    record = option.get_help_record(context)
    words = " ".join((record[1] if record else "").split())
    return f"| `{(names + value).replace('|', PIPE)}` | {_escaped(words)} |"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
