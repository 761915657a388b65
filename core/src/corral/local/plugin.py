"""The backend plugin of the embedded batch system."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from attrs import evolve, frozen

from corral._version import __version__
from corral.local.request import (
    PREFIX,
    Refused,
    header_directives,
    read_request,
    write_memory,
    write_walltime,
)
from corral.plugin import (
    Allocation,
    BackendFacts,
    Command,
    Completed,
    Conversation,
    Detected,
    Directive,
    Failure,
    FailureKind,
    InvalidRequest,
    Job,
    JobId,
    JobState,
    JobStatus,
    Option,
    ParseError,
    Queue,
    Resources,
    Script,
    answered,
    hookimpl,
    job_body,
    parsing,
    visible_gpus,
)
from corral.plugin.parsing import is_called

T = TypeVar("T")

#: How a log's path ends; the folder is before it.
_LOG = "/{id}.log"

#: The core's words for directives that may be skipped, and this batch system's.
_WORDS = {"walltime": "time"}

_REFUSED = "corral.local: refused: "
_TRY_AGAIN = "corral.local: try again: "


@frozen(kw_only=True)
class Local:
    """A real queue on this machine.

    The capacity belongs to the queue, not to this object: what is named here is the queue's from the next submission
    on, and stays until another submission names something else. What nobody has named is what the machine has.
    """

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="the embedded queue",
        tried="itself, on Linux",
        enclosing=("CORRAL_LOCAL_*",),
        # It runs inside of whatever else there is, and nobody's batch server suffers from questions.
        is_inner=True,
        directives=(PREFIX,),
        is_free_to_ask=True,
        is_everywhere=True,
        no_options={"arrays": "the embedded queue takes arrays of any size, and refuses none"},
    )

    directory: Annotated[
        str | None,
        Option(
            "Where the queue lives. A folder of one's own is a queue of one's own", default="one for each user and host"
        ),
    ] = None
    cores: Annotated[
        int | None,
        Option("How many cores its jobs may have together", default="all that this process may use", at_least=1),
    ] = None
    memory: Annotated[
        int | None,
        Option(
            "How much memory its jobs may have together",
            unit="bytes",
            default="all that this process may use",
            example="32GB",
        ),
    ] = None
    gpus: Annotated[
        int | None, Option("How many GPUs its jobs may have together", default="those of this host", at_least=0)
    ] = None
    grace: Annotated[
        float,
        Option(
            "The time between SIGTERM and SIGKILL when a job is cancelled or its walltime is over",
            unit="seconds",
        ),
    ] = 5.0

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        if job.resources.nodes > 1:
            raise InvalidRequest("nodes", "the embedded queue has one machine; ask for 1, or name another backend")
        return job

    @hookimpl
    def render_script(self, job: Job) -> Script:
        need = job.resources
        log = None if job.log_directory is None else job.log_directory + _LOG
        values = {
            "name": job.name or None,
            "queue": job.queue,
            "account": job.account,
            "cores": str(need.cores),
            "memory": None if need.memory is None else write_memory(need.memory),
            "gpus": str(need.gpus) if need.gpus else None,
            "time": None if job.walltime is None else write_walltime(job.walltime),
            "output": log,
        }
        skip = job.skip | {_WORDS.get(word, word) for word in job.skip}
        directives = [
            _directive(name, f"--{name}={value}")
            for name, value in values.items()
            if value is not None and name not in skip
        ]
        # The user's own are left out by nobody.
        extra = [_directive(text.lstrip("-").partition("=")[0], text) for text in job.extra_directives]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=[*directives, *extra],
            body=job_body(job, job_id="${CORRAL_LOCAL_JOB_ID}"),
            log=None if "output" in skip else log,
        )

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        directives = header_directives(text)
        if not directives and not text.startswith("#!"):
            directives = text.split()
        try:
            request = read_request(directives)
        except Refused as error:
            raise ParseError(str(error), text) from None
        extra = list(request.unknown)
        log_directory = None
        if request.output is not None:
            log_directory = request.output.removesuffix(_LOG)
            if log_directory == request.output:
                log_directory = None
                extra.append(f"--output={request.output}")
        if request.hold:
            extra.append("--hold")
        return Job(
            name=request.name,
            resources=Resources(cores=request.cores, memory=request.memory, gpus=request.gpus),
            walltime=request.walltime,
            queue=request.queue,
            account=request.account,
            log_directory=log_directory,
            extra_directives=extra,
            shebang=text.partition("\n")[0] if text.startswith("#!") else Job().shebang,
        )

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        capacity = {"--cores": self.cores, "--memory": self.memory, "--gpus": self.gpus}
        named = [f"{option}={value}" for option, value in capacity.items() if value is not None]
        options = [f"--count={count}", f"--grace={self.grace}", *named]
        done = yield self._command("submit", *options, stdin=str(script))
        arrays = _table(done, "array", lambda row: (int(row["array"]), row["count"]))
        if len(arrays) != 1 or arrays[0][1] != count:
            raise ParseError(f"no array of {count} jobs was submitted", done.stdout)
        return [JobId(f"{arrays[0][0]}_{element}") for element in range(count)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        done = yield self._command("status", stdin=_lines(job_ids))
        known = dict(_table(done, "job", _status))
        return {job_id: known[job_id] for job_id in job_ids if job_id in known}

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield self._command("cancel", stdin=_lines(job_ids))

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        done = yield self._command("find", "--", name)
        rows = _table(done, "job", lambda row: (JobId(row["job"]), str(row["name"])))
        return [job_id for job_id, found in rows if is_called(found, name)]

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield self._command("queues")
        # A submission of ours changes its size to what the options say.
        return [
            evolve(
                queue,
                cores=queue.cores if self.cores is None else self.cores,
                memory=queue.memory if self.memory is None else self.memory,
                gpus=queue.gpus if self.gpus is None else self.gpus,
            )
            for queue in _table(done, "queue", _queue)
        ]

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        done = yield self._command("explain", str(job_id))
        return " ".join(_table(done, "explain", lambda row: str(row["explain"])))

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        here = Detected(version=__version__, evidence="part of corral") if hasattr(os, "fork") else None
        return (yield from answered(here))

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        for line in reversed(completed.stderr.splitlines()):
            if line.startswith(_REFUSED):
                return Failure(kind=FailureKind.FATAL, message=line.removeprefix(_REFUSED))
            if line.startswith(_TRY_AGAIN):
                return Failure(kind=FailureKind.TRANSIENT, message=line.removeprefix(_TRY_AGAIN))
        return None

    def _command(self, name: str, *arguments: str, stdin: str = "") -> Command:
        where = [] if self.directory is None else [f"--directory={self.directory}"]
        # -P: a file of the current directory must not stand in for a module of the standard library.
        return Command([sys.executable, "-P", "-m", "corral.local", name, *where, *arguments], stdin=stdin)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        return (yield from answered(_allocation(environ)))

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [list(command)]


def _directive(name: str, text: str) -> Directive:
    if text.splitlines() != [text] or "\0" in text:
        raise InvalidRequest(name, f"it is written as one line of text, and {text!r} is not one")
    return Directive(name=name, text=PREFIX + text)


def _lines(job_ids: Iterable[JobId]) -> str:
    return "".join(f"{job_id}\n" for job_id in job_ids)


def _table(done: Completed, key: str, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Read the rows whose first entry is `key`; whatever else was printed is passed over.

    The last row, their number, tells an empty table from garbage, and a whole one from a part.
    """
    rows: list[T] = []
    lines = _rows(done, key)
    for line in lines:
        try:
            rows.append(read(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            parsing.pass_over(line, f"a {key} of the embedded queue cannot be read")
    if lines and not rows:
        raise ParseError("a row of the embedded queue cannot be read", done.stdout)
    try:
        counts = [json.loads(line)["rows"] for line in _rows(done, "rows")]
    except ValueError:
        counts = []
    if done.stdout.strip() and counts != [len(lines)]:
        raise ParseError("not a whole table of the embedded queue", done.stdout)
    return rows


def _rows(done: Completed, key: str) -> list[str]:
    return [line for line in done.lines() if line.startswith(f'{{"{key}": ')]


def _status(row: Mapping[str, Any]) -> tuple[JobId, JobStatus]:
    status = JobStatus(
        state=JobState.__members__.get(row["state"], JobState.UNKNOWN),
        native=row["state"],
        reason=row["reason"],
        exit_code=row["exit_code"],
        signal=row["signal"],
        hosts=() if row["host"] is None else (row["host"],),
        submitted=row["submitted"],
        started=row["started"],
        expected_start=row["expected_start"],
        ends=row["ends"],
    )
    return JobId(row["job"]), status


def _queue(row: Mapping[str, Any]) -> Queue:
    return Queue(
        name=row["queue"],
        is_default=True,
        cores=row["cores"],
        memory=row["memory"],
        gpus=row["gpus"],
        nodes=1,
        free_nodes=int(row["free_cores"] == row["cores"]),
    )


def _allocation(environ: Mapping[str, str]) -> Allocation | None:
    job_id = environ.get("CORRAL_LOCAL_JOB_ID")
    # A job of another batch system that was submitted from inside one of ours may have inherited our variables.
    if not job_id or environ.get("CORRAL_JOB_ID", job_id) != job_id:
        return None
    memory = environ.get("CORRAL_LOCAL_MEMORY")
    ends = environ.get("CORRAL_LOCAL_END_TIME")
    return Allocation(
        job_id=JobId(job_id),
        hosts=(environ["CORRAL_LOCAL_HOST"],),
        cores=int(environ["CORRAL_LOCAL_CORES"]),
        memory=int(memory) if memory else None,
        gpus=visible_gpus(environ),
        ends=float(ends) if ends else None,
        attempt=int(environ["CORRAL_LOCAL_ATTEMPT"]),
    )
