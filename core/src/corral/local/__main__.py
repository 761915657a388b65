"""The commands of the embedded batch system: ``python -m corral.local submit < job.sh``.

Ids are read from the arguments or else from standard input. Answers are JSON, an object a line; a last line says how
many rows came before it. Exit codes: 65 refused, 75 try again later.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from corral.local import outlook, wakeup
from corral.local.crashes import crash_point
from corral.local.database import default_directory
from corral.local.queue import Queue
from corral.local.request import QUEUE, Refused, header_directives, read_request
from corral.text.docstrings import docstring

#: What a job sees of its submitter's environment.
LOGIN = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG")

REFUSED = os.EX_DATAERR
TRY_AGAIN = os.EX_TEMPFAIL


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    directory = Path(os.path.realpath(arguments.directory)) if arguments.directory else default_directory()
    try:
        if arguments.command == "dispatch":
            from corral.local.dispatcher import dispatch

            dispatch(directory)
        else:
            with closing(Queue(directory)) as queue:
                _COMMANDS[arguments.command](queue, arguments)
    except Refused as error:
        sys.stderr.write(f"corral.local: refused: {error}\n")
        return REFUSED
    except sqlite3.OperationalError as error:
        sys.stderr.write(f"corral.local: try again: {error}\n")
        return TRY_AGAIN
    return 0


def submit(queue: Queue, arguments: argparse.Namespace) -> None:
    """Put jobs in line, all running the script on standard input."""
    try:
        script = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Refused(f"the script is not UTF-8: {error}") from None
    if not script.partition("\n")[0].removeprefix("#!").strip() or not script.startswith("#!"):
        raise Refused("the script's first line names no interpreter, like #!/bin/bash")
    array = queue.submit(
        read_request(header_directives(script)),
        script,
        count=arguments.count,
        grace=arguments.grace,
        folder=os.getcwd(),
        environment={name: os.environ[name] for name in LOGIN if name in os.environ},
        capacity=(arguments.cores, arguments.memory, arguments.gpus),
    )
    crash_point("submitted")
    wakeup.wake(queue.directory)
    _answer([{"array": array, "count": arguments.count}])


def status(queue: Queue, arguments: argparse.Namespace) -> None:
    """Say of jobs what is known: of all of them if no id is given."""
    ids = _ids(arguments)
    _answer(outlook.describe(queue, queue.expand(ids) if ids else queue.keys()))
    if queue.has_work():  # its dispatcher may have been killed
        wakeup.wake(queue.directory)


def find(queue: Queue, arguments: argparse.Namespace) -> None:
    """Say which jobs with a name have not ended."""
    _answer([{"job": str(key), "name": name} for key, name in queue.find(arguments.name).items()])


def change(queue: Queue, arguments: argparse.Namespace) -> None:
    """Cancel, hold, release or requeue jobs; one for which that has no meaning (any more) is left alone."""
    getattr(queue, arguments.command)(queue.expand(_ids(arguments)))
    if queue.has_work():
        wakeup.wake(queue.directory)


def queues(queue: Queue, _arguments: argparse.Namespace) -> None:
    """Say what the queue has, and how much of it is free."""
    has, used = queue.capacity(), queue.used()
    row = {
        "queue": QUEUE,
        "cores": has.cores,
        "memory": has.memory,
        "gpus": len(has.devices),
        "free_cores": max(0, has.cores - used.cores),
        "free_memory": max(0, has.memory - used.memory),
        "free_gpus": max(0, len(has.devices) - len(used.devices)),
    }
    _answer([row])


def explain(queue: Queue, arguments: argparse.Namespace) -> None:
    """Say in a sentence why a job waits."""
    keys = queue.expand([arguments.id])
    _answer([{"explain": outlook.explain(queue, key, row)} for key in keys for row in outlook.describe(queue, [key])])


def _ids(arguments: argparse.Namespace) -> list[str]:
    return arguments.id or sys.stdin.read().split()


def _answer(rows: Sequence[Mapping[str, object]]) -> None:
    sys.stdout.writelines(json.dumps(row) + "\n" for row in [*rows, {"rows": len(rows)}])


_COMMANDS = {
    "submit": submit,
    "status": status,
    "find": find,
    "cancel": change,
    "hold": change,
    "release": change,
    "requeue": change,
    "queues": queues,
    "explain": explain,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m corral.local", description=__doc__ or docstring("corral.local.__main__")
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in (*_COMMANDS, "dispatch"):
        command = commands.add_parser(name)
        command.add_argument("--directory", help="where the queue lives; default: one per user and host")
        if name == "submit":
            command.add_argument("--count", type=int, default=1, help="how many jobs")
            command.add_argument("--cores", type=int, help="of the queue, from now on")
            command.add_argument("--memory", type=int, help="bytes of the queue, from now on")
            command.add_argument("--gpus", type=int, help="of the queue, from now on")
            command.add_argument("--grace", type=float, default=5.0, help="seconds between SIGTERM and SIGKILL")
        elif name == "find":
            command.add_argument("name")
        elif name == "explain":
            command.add_argument("id")
        elif name in ("status", "cancel", "hold", "release", "requeue"):
            command.add_argument("id", nargs="*")
    return parser


if __name__ == "__main__":
    sys.exit(main())
