"""The command line: ``corral …``, also reachable as ``dask corral …``."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from corral._version import __version__
from corral.cli import commands
from corral.cli.backends import backends
from corral.cli.demo import demo
from corral.cli.doctor import doctor
from corral.cli.migrate import migrate
from corral.cli.new import new_backend, new_site
from corral.cli.options import explained
from corral.cli.queues import queues
from corral.cli.record import record
from corral.cli.redact import Redaction, redacted
from corral.cli.report import report
from corral.cli.run import run
from corral.cli.schema import schema
from corral.cli.serve import serve
from corral.cli.simulate import simulate
from corral.cli.sites import sites
from corral.cli.submit import submit
from corral.cli.tables import say
from corral.cli.waits import waits
from corral.cli.why import explain
from corral.errors import CorralError, InvalidRequest, UnknownBackend

#: Exit codes: 1 for a failure, 2 for words that cannot be used.
FAILURE, USAGE = 1, 2


class _Group(click.Group):
    """One readable message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (InvalidRequest, UnknownBackend) as error:
            self._say(ctx, error, USAGE)
        except BrokenPipeError:
            raise  # whoever read has seen enough, as `head` has; click ends without a word
        except (CorralError, OSError, LookupError) as error:
            self._say(ctx, error, FAILURE)

    def _say(self, ctx: click.Context, error: Exception, code: int) -> NoReturn:
        if os.environ.get("CORRAL_TRACEBACK"):
            raise error
        say(f"corral: {error}", err=True)
        ctx.exit(code)


@explained
@click.group(cls=_Group, name="corral", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="corral")
@click.option(
    "--redact", is_flag=True, help="Hide the names of users, hosts and projects in what is printed, for bug reports."
)
@click.pass_context
def main(ctx: click.Context, redact: bool) -> None:
    """Dask clusters on HPC batch systems."""
    ctx.obj = Redaction()
    if redact:
        ctx.obj.hide_what_is_known()
        ctx.with_resource(redacted(ctx.obj))


_COMMANDS = (
    backends, commands.clean, commands.logs, commands.ps, commands.script, demo, doctor, explain, migrate,
    new_backend, new_site, queues, record, report, run, schema, serve, simulate, sites, submit, waits,
)  # fmt: skip
for command in _COMMANDS:
    main.add_command(explained(command))

if __name__ == "__main__":
    sys.exit(main())
