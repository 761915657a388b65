"""``corral submit``: a batch job that is a Dask cluster while one script runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import define, evolve, field

from corral.allocation.arguments import CONFIGURABLE
from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options
from corral.cli.run import OWN_FAILURE, run_options, run_words
from corral.cli.tables import say, show_file
from corral.errors import BatchSystemError, InvalidRequest, ParseError
from corral.jobs.record import JobRecord
from corral.plugin.values import JobState
from corral.plugin.written_sites import needed_site
from corral.request import settings
from corral.request.sites import NONE
from corral.request.written_sites import is_written

if TYPE_CHECKING:
    from corral.plugin.values import Job
    from corral.request.blueprint import Blueprint

#: How often the job's output is looked at (s): a file is no burden on the batch system.
_GLANCE = 0.5

#: Options of `corral run` that a job of workers has not.
_RUN_ONLY = (
    "memory_limit", "scheduler_interface", "worker_interface", "scheduler_port", "dashboard",
    "dashboard_address", "scheduler_file", "spare_first_node",
)  # fmt: skip


@click.command(context_settings={"allow_interspersed_args": False})
@cluster_options()
@worker_options
@run_options(only=_RUN_ONLY)
@click.option("--wait", "waits", is_flag=True, help="Return when the job has ended, with the script's exit code.")
@click.option("--follow", "follows", is_flag=True, help="Show the job's output as it comes; implies --wait.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def submit(script: str, arguments: Sequence[str], waits: bool, follows: bool, **options: Any) -> None:
    """Submit a script as a batch job that is a Dask cluster.

    In the job, corral run turns all of its nodes into a Dask cluster for as long as the script runs.

    Prints the job's id. The output goes to ID.log in this directory, unless --log-directory says otherwise.
    """
    from corral.request.drawing import draw

    given = {**cluster_arguments(options), **worker_arguments(options)}
    given.setdefault("name", Path(script).stem)
    given.setdefault("log_directory", os.getcwd())
    blueprint = draw(given)
    submission = _Submission(blueprint=blueprint, job=_job(blueprint, [script, *arguments], options))
    try:
        sys.exit(asyncio.run(submission.run(waits=waits or follows, follows=follows)))
    except KeyboardInterrupt:
        if submission.record is not None:
            say(f"corral: job {submission.record.id} keeps running; cancel it like any other job", err=True)
        sys.exit(130)


def _job(blueprint: Blueprint, words: Sequence[str], options: dict[str, Any]) -> Job:
    [spec] = blueprint.groups.values()
    for name in ("container", "launch_prefix"):
        if value := getattr(spec, name):
            raise InvalidRequest(
                name,
                f"{value!r} is for jobs that have workers alone, and this one has the script, too; give it to a "
                "Cluster that a program of yours makes",
            )
    asked = spec.request(
        name=blueprint.job_name(1),
        log_directory=str(blueprint.log_directory),
        launcher_options=(),
        surroundings=blueprint.surroundings,
        own_directory=str(blueprint.home.path),
    )
    job = blueprint.batch.prepare(
        evolve(
            asked,
            # Output that is shown live must not wait in a buffer.
            environment={"PYTHONUNBUFFERED": "1", **_state(blueprint), **asked.environment},
        )
    )
    resources = job.resources
    # What was prepared may be more than what was asked for, and the batch system may not tell the job.
    said = {
        **options,
        "name": None,
        "backend": blueprint.backend,
        **_of_site(blueprint, options),
        "cores": resources.cores,
        "memory": resources.memory,
        "shared_directory": blueprint.shared_directory,
    }
    return evolve(job, command=(*job.command[:-1], "corral.cli", "run", *run_words(said), *words))


def _of_site(blueprint: Blueprint, options: Mapping[str, Any]) -> dict[str, Any]:
    """The site in the job, so that it does not look for one; of one in a file, which it may not see, what it says."""
    site, name, backend_options = blueprint.chosen_site, blueprint.site or NONE, blueprint.backend_options
    more: dict[str, Any] = {}
    said = {} if site is None else {key: value for key, value in site.values.items() if key in CONFIGURABLE}
    if site is not None and is_written(site.name) and said.keys() <= options.keys():
        batch = blueprint.batch
        _, backend_options = needed_site(batch.manager, site.name, batch.backend, batch.options)
        name = NONE
        more = {
            key: json.dumps(value) if isinstance(value, Mapping) else value
            for key, value in said.items()
            if key in options and not options[key] and settings.value(key, blueprint.backend) is None
        }
    return {
        **more,
        "backend_options": [f"{key}={json.dumps(value)}" for key, value in backend_options.items()],
        "site": name,
        "site_options": []
        if name == NONE
        else [f"{key}={json.dumps(value)}" for key, value in blueprint.site_options.items()],
    }


def _state(blueprint: Blueprint) -> dict[str, str]:
    """What leads the job to the state directory that is this process's."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return {"XDG_STATE_HOME": state} if state and blueprint.shared_directory is None else {}


@define(kw_only=True)
class _Submission:
    """One job, from its submission to its end."""

    blueprint: Blueprint
    job: Job
    record: JobRecord | None = field(default=None, init=False)

    async def run(self, *, waits: bool, follows: bool) -> int:
        """Submit it, and wait for its end if that is wanted; returns the exit code."""
        batch = self.blueprint.batch
        script = batch.render(self.job)
        if script.log is not None:
            Path(script.log).parent.mkdir(parents=True, exist_ok=True)
        self.blueprint.home.make()
        [job_id, *_] = (await batch.submit(script, 1)).ids
        log = None if script.log is None else script.log.replace("{id}", job_id.text)
        self.record = JobRecord(id=job_id, name=script.name, log=log, submitted_at=time.monotonic())
        say(str(job_id), err=follows)
        if not waits:
            return 0
        if follows and log is not None:
            following = asyncio.create_task(_show(Path(log)))
            await self._await_end()
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        else:
            await self._await_end()
        return self._verdict()

    async def _await_end(self) -> None:
        from corral.remote.locate import looked_at  # not by whoever only submits

        assert self.record is not None
        rhythm = self.blueprint.rhythm(self.blueprint.batch)
        rhythm.changed(time.monotonic())
        while not self.record.has_ended:
            await asyncio.sleep(max(0.0, rhythm.due() - time.monotonic()))
            try:
                before = self.record
                self.record = await looked_at(self.blueprint.batch, before, urgent=False)
            except (BatchSystemError, ParseError) as error:
                click.echo(f"corral: the batch system did not report the job's state: {error}", err=True)
            else:
                if self.record.state is not before.state:
                    rhythm.changed(time.monotonic())
            rhythm.polled(time.monotonic())

    def _verdict(self) -> int:
        """The script's exit code; that of a failure of corral if the script had no chance to end."""
        assert self.record is not None
        status = self.record.status
        if status.state is JobState.COMPLETED or (status.state is JobState.FAILED and status.exit_code):
            return status.exit_code or 0
        why = f" ({status.reason})" if status.reason not in ("", "None") else ""
        say(f"corral: job {self.record.id}: {status.state.name}{why}", err=True)
        return OWN_FAILURE if status.signal is None else 128 + status.signal


async def _show(path: Path) -> None:
    """Print what a file has, and what is added to it; the rest of it when this is cancelled."""
    shown = 0
    is_over = False
    while True:
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(shown)
            more = file.read()
            shown += len(more)
            show_file(more)
        if is_over:
            return
        try:
            await asyncio.sleep(_GLANCE)
        except asyncio.CancelledError:
            is_over = True
