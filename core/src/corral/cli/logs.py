"""``corral logs``: what jobs have printed, and what they print."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from corral.cli import completing
from corral.cli.commands import registered, state_in
from corral.cli.tables import say, say_json, show_file
from corral.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corral.cluster.registry import JobLine
    from corral.host.files import Files


@frozen
class LoggedJob:
    """A job, its cluster, and the way to its log."""

    cluster: str
    state: str
    line: JobLine
    via: str
    python: Sequence[str]

    @property
    def files(self) -> Files:
        from corral.request.carrying import files_of

        return files_of(self.via, self.python)

    def plain(self) -> dict[str, Any]:
        """For programs."""
        line = self.line
        return {
            "job": line.id, "state": self.state, "cluster": self.cluster, "group": line.group, "log": line.log,
        }  # fmt: skip


@click.command()
@click.argument("job", required=False, shell_complete=completing.jobs)
@click.option("--cluster", help="Name of the cluster, if several have such a job.", shell_complete=completing.clusters)
@click.option("--lines", type=click.IntRange(min=1), help="Show only this many of the last lines.")
@click.option(
    "--follow", is_flag=True,
    help="Go on with what the job prints until it has ended; wait for a log that is not there yet.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per job.")
def logs(job: str | None, cluster: str | None, lines: int | None, follow: bool, as_json: bool) -> None:
    """Print the log of a job, or list all logs.

    For clusters that have ended, logs of jobs that failed, or whose workers died, are kept for a week.

    In a terminal, control sequences are shown instead of obeyed; a pipe gets the file unchanged.
    """
    if follow and (job is None or as_json):
        raise InvalidRequest("follow", "takes a job, and prints its log as it is: corral logs --follow JOB")
    found = [each for each in logged() if cluster in (None, each.cluster)]
    if job is None:
        if not found and not as_json:
            click.echo("No job is registered.")
        for each in found:
            if as_json:
                say_json(each.plain())
                continue
            say(f"{each.line.id}  {each.state}  {each.cluster}  {each.line.log or 'output discarded'}")
        return
    chosen = _the_one(job, found)
    path = chosen.line.log
    if path is None:
        raise LookupError(f"the output of job {job} is discarded")
    if follow:
        from corral.cli.following import Follower

        try:
            Follower(chosen, lambda: _again(chosen)).follow(lines)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        return
    text = chosen.files.text(path)
    if lines is not None:
        text = b"".join(text.splitlines(keepends=True)[-lines:])
    if as_json:
        say_json({**chosen.plain(), "text": text.decode(errors="replace")})
        return
    show_file(text)


def logged() -> list[LoggedJob]:
    """All jobs of which a log may be known, those of ended clusters first."""
    from corral.cluster import kept_logs

    ended = [
        LoggedJob(each.name, line.state, line, each.via, each.python)
        for each in kept_logs.ended()
        for line in each.jobs
    ]
    living = [
        LoggedJob(entry.name, state_in(entry, line), line, entry.via, entry.python)
        for entry in registered()
        for line in entry.jobs
    ]
    return [*ended, *living]


def _the_one(job: str, found: Sequence[LoggedJob]) -> LoggedJob:
    matching = [each for each in found if each.line.id == job]
    if not matching and (of_cluster := [each.line.id for each in found if each.cluster == job]):
        raise LookupError(f"{job!r} is a cluster; its jobs: {', '.join(of_cluster[:10])}. Say which: corral logs JOB")
    if not matching:
        known = ", ".join(each.line.id for each in found[:10]) or "none"
        raise LookupError(f"no cluster that is registered, or has left logs, has a job {job!r}. Jobs: {known}")
    if len(matching) > 1:
        names = ", ".join(each.cluster for each in matching)
        raise LookupError(f"several clusters have a job {job!r}: {names}. Choose one with --cluster")
    return matching[0]


def _again(job: LoggedJob) -> LoggedJob | None:
    """What is known of a job by now; None: it is not known any more."""
    of_cluster = [each for each in logged() if each.cluster == job.cluster and each.line.id == job.line.id]
    return next((each for each in of_cluster if each.line.log == job.line.log), None)
