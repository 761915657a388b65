"""The command line: ``corral …``, also reachable as ``dask corral …``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, NoReturn

import click

from corral._version import __version__
from corral.cli.helped import explained

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Exit codes: 1 for a failure, 2 for words that cannot be used.
FAILURE, USAGE = 1, 2

#: Where the function of each command is. What is not called is not imported: a shell that completes a word does not
#: wait for it.
_COMMANDS = {
    "backends": "corral.cli.backends:backends",
    "clean": "corral.cli.clean:clean",
    "completion": "corral.cli.completion:completion",
    "demo": "corral.cli.demo:demo",
    "doctor": "corral.cli.doctor:doctor",
    "explain": "corral.cli.why:explain",
    "logs": "corral.cli.logs:logs",
    "migrate": "corral.cli.migrate:migrate",
    "new-backend": "corral.cli.new:new_backend",
    "new-site": "corral.cli.new:new_site",
    "ps": "corral.cli.commands:ps",
    "queues": "corral.cli.queues:queues",
    "record": "corral.cli.record:record",
    "report": "corral.cli.report:report",
    "run": "corral.cli.run:run",
    "schema": "corral.cli.schema:schema",
    "script": "corral.cli.script:script",
    "serve": "corral.cli.serve:serve",
    "simulate": "corral.cli.simulate:simulate",
    "sites": "corral.cli.sites:sites",
    "submit": "corral.cli.submit:submit",
    "top": "corral.cli.top:top",
    "waits": "corral.cli.waits:waits",
}


class _Commands(MutableMapping[str, click.Command]):
    """The commands by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._places = dict(_COMMANDS)
        self._known: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._known:
            import importlib

            module, _, function = self._places[name].partition(":")
            self._known[name] = explained(getattr(importlib.import_module(module), function))
        return self._known[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places.setdefault(name, "")
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._known.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Group(click.Group):
    """One readable message instead of a traceback; nothing is imported that is not called."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        # The base class would import each command for its help.
        names = [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        try:
            return super().get_command(ctx, cmd_name)
        except Exception:
            # A configuration that cannot be read, say: somebody who presses a key is told nothing of it.
            if not ctx.resilient_parsing:
                raise
            return None

    def invoke(self, ctx: click.Context) -> object:
        from corral.errors import CorralError, InvalidRequest, UnknownBackend

        try:
            return super().invoke(ctx)
        except (InvalidRequest, UnknownBackend) as error:
            self._say(ctx, error, USAGE)
        except BrokenPipeError:
            raise  # whoever read has seen enough, as `head` has; click ends without a word
        except (CorralError, OSError, LookupError) as error:
            self._say(ctx, error, FAILURE)

    def _say(self, ctx: click.Context, error: Exception, code: int) -> NoReturn:
        from corral.cli.tables import say

        if os.environ.get("CORRAL_TRACEBACK"):
            raise error
        say(f"corral: {error}", err=True)
        ctx.exit(code)


@click.group(cls=_Group, name="corral", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="corral")
@click.option(
    "--redact", is_flag=True, help="Hide the names of users, hosts and projects in what is printed, for bug reports."
)
@click.pass_context
def main(ctx: click.Context, redact: bool) -> None:
    """Dask clusters on HPC batch systems."""
    from corral.cli.redact import Redaction, redacted

    ctx.obj = Redaction()
    if redact:
        ctx.obj.hide_what_is_known()
        ctx.with_resource(redacted(ctx.obj))


explained(main)
main.commands = _Commands()

if __name__ == "__main__":
    sys.exit(main())
