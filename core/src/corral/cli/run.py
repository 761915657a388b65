"""``corral run``: inside a job, a Dask cluster on all of its nodes for as long as one script runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from corral.cli.options import backend_option, described, json_object, plugin_options, site_option
from corral.errors import CorralError, counted
from corral.launch.ending import say
from corral.launch.zygote import WARNINGS

if TYPE_CHECKING:
    from corral.allocation.cluster import Allocation

F = TypeVar("F", bound=Callable[..., Any])

#: The exit code when corral itself failed; what `timeout` and containers use for that.
OWN_FAILURE = 125
#: Seconds that a script without workers has to end.
_LAST_SECONDS = 10.0

#: Arguments of `Allocation` that are plain options, with their type and other spellings.
_PLAIN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "cores": (click.IntRange(min=1), ()),
    "memory": (str, ()),
    "processes": (click.IntRange(min=1), ("--workers-per-node",)),
    "threads": (click.IntRange(min=1), ("--nthreads",)),
    "memory_limit": (str, ()),
    "name": (str, ()),
    "backend": (str, ()),
    "site": (str, ()),
    "shared_directory": (click.Path(), ()),
    "interface": (str, ()),
    "scheduler_interface": (str, ()),
    "worker_interface": (str, ()),
    "scheduler_port": (click.IntRange(0, 65535), ()),
    "worker_ports": (str, ()),
    "local_directory": (click.Path(), ()),
    "launcher": (click.Choice(["fork", "spawn"]), ()),
    "affinity": (click.Choice(["none", "cores", "near-gpu"]), ()),
    "death_timeout": (str, ()),
    "worker_class": (str, ()),
}


class Command(click.Command):
    """Words that cannot be used are a failure of corral, not of the script: the exit code says so."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.show()
            ctx.exit(OWN_FAILURE)


#: Those that say something in another way than an argument does.
_TEXTS = ("worker_options", "dashboard_address", "scheduler_file")


def run_options(only: Collection[str] = ()) -> Callable[[F], F]:
    """Give a command the options of `corral run`, or some of them."""
    words = described("corral.allocation.cluster", "Allocation", _PLAIN)
    options = {
        name: click.option(f"--{name.replace('_', '-')}", *aliases, name, type=kind, help=words[name])
        for name, (kind, aliases) in _PLAIN.items()
    }
    options |= {
        "backend_options": backend_option,
        "site_options": site_option,
        "spare_first_node": click.option(
            "--exclusive/--inclusive", "spare_first_node", default=False, show_default=True,
            help="Whether the scheduler and the script have a node of their own, without workers.",
        ),
        "preimport": click.option("--preimport", multiple=True, metavar="MODULE", help=words["preimport"]),
        "worker_options": click.option("--worker-options", metavar="JSON", help=words["worker_options"]),
        "dashboard": click.option(
            "--dashboard/--no-dashboard", default=True, help="Whether there is a dashboard."
        ),
        "dashboard_address": click.option(
            "--dashboard-address", metavar="HOST:PORT", help="Where the dashboard is. Default: any port on loopback."
        ),
        "scheduler_file": click.option(
            "--scheduler-file", type=click.Path(), help="Where to write the scheduler's address, as JSON."
        ),
    }  # fmt: skip

    def decorate(command: F) -> F:
        for name, option in reversed(options.items()):
            if not only or name in only:
                command = option(command)
        return command

    return decorate


def run_words(options: Mapping[str, Any]) -> list[str]:
    """The options of `corral run`, as they were given, spelled for another command line."""
    given = {name: options.get(name) for name in (*_PLAIN, *_TEXTS)}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    words += [f"--preimport={module}" for module in options["preimport"]]
    words += [f"--backend-option={text}" for text in options["backend_options"]]
    words += [f"--site-option={text}" for text in options["site_options"]]
    if options["spare_first_node"]:
        words.append("--exclusive")
    if not options["dashboard"]:
        words.append("--no-dashboard")
    return words


@click.command(cls=Command, context_settings={"allow_interspersed_args": False})
@run_options()
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(script: str, arguments: Sequence[str], **options: Any) -> None:
    """Inside a job, run a script with a Dask cluster on its nodes.

    In the script, Client() finds the cluster by itself; how many workers there will be is in CORRAL_WORKERS. When it
    ends, everything ends, with its exit code: 128 + N if signal N ended it, 125 if corral itself failed.
    """
    if not os.path.isfile(script):
        say(f"there is no script {script!r}")
        sys.exit(OWN_FAILURE)
    try:
        code = asyncio.run(_run(allocation_arguments(options), [sys.executable, script, *arguments]))
    except CorralError as error:
        if os.environ.get("CORRAL_TRACEBACK"):
            traceback.print_exc()
        say(str(error))
        code = OWN_FAILURE
    except Exception:
        traceback.print_exc()
        code = OWN_FAILURE
    sys.exit(code)


def allocation_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as arguments of `Allocation`."""
    arguments = {name: options[name] for name in _PLAIN if options[name] is not None}
    arguments["spare_first_node"] = options["spare_first_node"]
    if options["preimport"]:
        arguments["preimport"] = options["preimport"]
    if options["backend_options"]:
        arguments["backend_options"] = plugin_options(options["backend_options"])
    if options["site_options"]:
        arguments["site_options"] = plugin_options(options["site_options"], "site_options")
    if options["worker_options"] is not None:
        arguments["worker_options"] = json_object("worker_options", options["worker_options"])
    scheduler: dict[str, Any] = {}
    if not options["dashboard"]:
        scheduler["dashboard"] = False
    if options["dashboard_address"] is not None:
        scheduler["dashboard_address"] = options["dashboard_address"]
    if options["scheduler_file"] is not None:
        scheduler["scheduler_file"] = options["scheduler_file"]
    return {**arguments, "scheduler_options": scheduler} if scheduler else arguments


async def _run(arguments: dict[str, Any], command: Sequence[str]) -> int:
    attendant = _Attendant()
    loop = asyncio.get_running_loop()
    for number in WARNINGS:
        loop.add_signal_handler(number, attendant.signalled, number)
    from corral.allocation.cluster import Allocation

    try:
        async with Allocation(**arguments, asynchronous=True) as allocation:
            return await attendant.attend(allocation, command)
    except asyncio.CancelledError:
        assert attendant.number is not None
        return 128 + attendant.number


class _Attendant:
    """Has the script run, and lets it hear the signals that are meant for the job."""

    def __init__(self) -> None:
        self._main = asyncio.current_task()
        self._script: asyncio.subprocess.Process | None = None
        #: The signal that came before there was a script.
        self.number: int | None = None

    def signalled(self, number: int) -> None:
        if self._script is None:
            self.number = number
            assert self._main is not None
            self._main.cancel()
        elif number != signal.SIGINT or not _is_in_foreground():
            with suppress(ProcessLookupError):
                self._script.send_signal(number)

    async def attend(self, allocation: Allocation, command: Sequence[str]) -> int:
        """Run the script to its end; returns the exit code for all."""
        are = "is" if allocation.n_workers == 1 else "are"
        say(f"{counted(allocation.n_workers, 'worker')} {are} starting on {' '.join(allocation.hosts)}")
        environment = {**os.environ, **await asyncio.to_thread(allocation.environment)}
        self._script = script = await asyncio.create_subprocess_exec(*command, env=environment)
        ending = asyncio.create_task(script.wait())
        desertion = asyncio.create_task(allocation.is_deserted.wait())
        try:
            await asyncio.wait([ending, desertion], return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                say("no worker is left: ending the script")
                await self._end(script, ending)
                return OWN_FAILURE
            code = ending.result()
            return code if code >= 0 else 128 - code
        finally:
            desertion.cancel()

    async def _end(self, script: asyncio.subprocess.Process, ending: asyncio.Task[int]) -> None:
        with suppress(ProcessLookupError):
            script.terminate()
        await asyncio.wait([ending], timeout=_LAST_SECONDS)
        if not ending.done():
            script.kill()
            await ending


def _is_in_foreground() -> bool:
    """True if Ctrl-C in a terminal reaches the script without our doing."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
