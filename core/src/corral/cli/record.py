"""``corral record``: what a batch system answers, as transcripts for the tests of its backend."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corral.cli.disguise import Disguise
from corral.cli.options import (
    HERE,
    cluster_arguments,
    cluster_options,
    refuse_via,
    worker_arguments,
    worker_options_for,
)
from corral.cli.tables import say
from corral.errors import InvalidRequest, counted
from corral.text.durations import in_words, seconds_in

if TYPE_CHECKING:
    from corral.recording.life import Life
    from corral.request.blueprint import Blueprint

#: What its jobs ask for, unless somebody says otherwise: as little as a Python that reads its environment needs.
_LITTLE = {"memory": "512MiB", "walltime": "15 min"}
_ASKED = (
    "cores", "memory", "walltime", "queue", "account", "extra_directives", "skip_directives", "prologue", "modules",
    "conda_env", "python",
)  # fmt: skip


@click.command()
@cluster_options(only=tuple(name for name in HERE if name != "name"))
@worker_options_for(_ASKED)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where to write the transcripts. Default: ./recorded-BACKEND.",
)  # fmt: skip
@click.option(
    "--timeout", default="5 min", show_default=True,
    help="How long to wait for jobs to start; once they have started, they end by themselves after as long.",
)  # fmt: skip
def record(output: Path | None, timeout: str, **options: Any) -> None:
    """Record a batch system's answers, for tests of its backend.

    It submits four small jobs, one and an array of three, through the backend's own hooks: polls them while they wait,
    run and end, finds them by name, cancels one of the three, asks for what is gone or never was, and has one request
    refused. What each command printed goes to a file of its own, without the names of users, hosts and projects, and
    without addresses. What the files mean, as the conformance kit is told, is printed.

    Its jobs ask for one core, 512 MiB and 15 minutes, unless you say otherwise.

    No other job is touched. Its own are cancelled in any case, also when you interrupt it.
    """
    from corral.request.drawing import draw

    refuse_via("record on the host that has the batch system")
    try:
        patience = seconds_in(timeout)
    except ValueError as error:
        raise InvalidRequest("timeout", str(error)) from None
    given = {**_LITTLE, **cluster_arguments(options), **worker_arguments(options), "name": "record"}
    blueprint = draw(given)
    target = output or Path(f"recorded-{blueprint.backend}")
    try:
        # Before there are jobs: what they showed could not be written.
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest("output", f"{target} cannot be made: {error.strerror}") from None
    if any(target.iterdir()):
        raise InvalidRequest("output", f"{target} already exists and is not empty; name another")
    sys.exit(_recorded(blueprint, target, patience))


def _recorded(blueprint: Blueprint, target: Path, patience: float) -> int:
    from corral.recording.declaring import Declarer
    from corral.recording.life import prepared

    disguise = Disguise()
    disguise.hide_what_is_known()
    blueprint.home.make()
    base = blueprint.chosen_log_directory or blueprint.log_directory.parent
    logs = base / f"record-{secrets.token_hex(4)}"
    life = _life(blueprint, logs, patience, disguise)
    say(
        f"corral record: submits 1 job and 3 more to {blueprint.batch.facts.title or blueprint.backend}, of "
        f"{counted(life.job.resources.cores, 'core')} each, called {life.prefix}*, for at most "
        f"{in_words(2 * patience)}. No other job is touched",
        err=True,
    )
    # What corral itself gives to its jobs is no word of the batch system's.
    prepared(logs, [*os.environ, *life.job.environment, "VIRTUAL_ENV"])
    code = 0
    try:
        with _others_interrupt_too():
            asyncio.run(life.live())
    except KeyboardInterrupt:
        say("corral record: interrupted; what was recorded so far is written", err=True)
        code = 128 + signal.SIGINT
    finally:
        disguise.hide("folder", str(logs))
        disguise.hide("prefix", sys.prefix)
        disguise.keep(*(each.result.version for each in life.taken if each.hook == "detect" and each.result))
        recorded = Declarer(manager=blueprint.batch.manager, redact=disguise).declare(
            life.taken, [life.inside[job_id] for job_id in sorted(life.inside)]
        )
        for name, text in recorded.files.items():
            (target / name).write_text(text, encoding="utf-8")
    if not life.folder_has_use:
        shutil.rmtree(logs, ignore_errors=True)
    say(
        f"corral record: {len(recorded.files)} files in {target}. Read them before you publish them: names that nobody "
        "told corral are still there. For the class of the laws:",
        err=True,
    )
    click.echo(recorded.declarations, nl=False)
    return code


def _life(blueprint: Blueprint, logs: Path, patience: float, disguise: Disguise) -> Life:
    from corral.recording.life import Life

    [spec] = blueprint.groups.values()
    asked = spec.request(
        name=blueprint.job_name(1),
        log_directory=str(logs),
        launcher_options=(),
        surroundings=blueprint.surroundings,
        own_directory=str(logs),
    )
    return Life(
        batch=blueprint.batch,
        job=blueprint.batch.prepare(asked),
        folder=logs,
        patience=patience,
        tell=lambda words: say(f"… {words}", err=True),
        meet=lambda hosts: disguise.hide("host", *hosts),
    )


@contextlib.contextmanager
def _others_interrupt_too() -> Iterator[None]:
    """Who is told to go has its jobs cancelled on the way out, as by Ctrl-C."""

    def leave(_number: int, _frame: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
