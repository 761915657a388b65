"""corral on Acme, a made-up batch system of three commands: acsub, acstat, acdel."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from attrs import evolve

from corral.plugin import (
    Allocation,
    BackendFacts,
    Command,
    CommandFailed,
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
    Resources,
    Script,
    hookimpl,
    job_body,
)
from corral.plugin.parsing import is_called, pass_over

STATES = {
    "WAIT": JobState.HELD,
    "RUN": JobState.RUNNING,
    "DONE": JobState.COMPLETED,
    "FAIL": JobState.FAILED,
    "KILLED": JobState.CANCELLED,
    "LATE": JobState.TIMEOUT,
}


class Acme:
    """Its argument is the backend's only option."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="Acme",
        tried="Acme 3.1",
        commands=("acsub",),  # traces of it on a host: a login node where it is down must not become a compute node
        enclosing=("AC_*",),  # what a job is told of itself, and no other job or command must hear
        carried=("ACME_SERVER",),  # what finds its server, for a scheduler that lives in a job
    )

    def __init__(
        self, batch_size: Annotated[int, Option("The most jobs that one `acsub` takes", at_least=1)] = 1000
    ) -> None:
        self.batch_size = batch_size

    # --- the request -------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        if job.resources.gpus:
            raise InvalidRequest("gpus", "Acme has none")
        for argument in ("name", "queue", "account", "log_directory"):
            if not re.fullmatch(r"[\w./-]*", getattr(job, argument) or ""):
                raise InvalidRequest(argument, "Acme allows letters, digits, '_', '.', '/' and '-'")
        memory = job.resources.memory
        rounded = None if memory is None else -(-memory // 1024) * 1024
        return evolve(job, resources=evolve(job.resources, memory=rounded))

    @hookimpl
    def render_script(self, job: Job) -> Script:
        need = job.resources
        log = f"{job.log_directory}/%.log" if job.log_directory else None
        values = {
            "name": job.name,
            "nodes": need.nodes,
            "cores": need.cores,
            "memory": None if need.memory is None else f"{need.memory // 1024}K",
            "walltime": job.walltime,
            "queue": job.queue,
            "account": job.account,
            "output": log,
        }
        own = [f"{name}={value}" for name, value in values.items() if value is not None and name not in job.skip]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=[
                Directive(name=text.partition("=")[0], text=f"#AC {text}") for text in [*own, *job.extra_directives]
            ],
            body=job_body(job, job_id="$AC_BATCH.$AC_INDEX"),
            log=None if log is None else log.replace("%", "{id}"),
        )

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        lines = re.findall(r"^#AC (\w+)=(.*)$", text, re.MULTILINE)
        given = dict(lines)
        try:
            return Job(
                name=given.pop("name", ""),
                resources=Resources(
                    nodes=int(given.pop("nodes", 1)),
                    cores=int(given.pop("cores", 1)),
                    memory=int(given.pop("memory").removesuffix("K")) * 1024 if "memory" in given else None,
                ),
                walltime=int(given.pop("walltime")) if "walltime" in given else None,
                queue=given.pop("queue", None),
                account=given.pop("account", None),
                log_directory=given.pop("output").removesuffix("/%.log") if "output" in given else None,
                extra_directives=[f"{name}={value}" for name, value in lines if name in given],
                shebang=text.partition("\n")[0] if text.startswith("#!") else Job().shebang,
            )
        except ValueError as error:
            raise ParseError("a number is expected", text) from error

    # --- its life ----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        count = min(count, self.batch_size)
        done = yield Command(["acsub", str(count)], stdin=str(script))
        answer = re.fullmatch(r"accepted: batch (\d+), \d+ jobs", done.last_line())
        if answer is None:
            raise ParseError("acsub did not name a batch", done.stdout)
        return [JobId(f"{answer[1]}.{index}") for index in range(count)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        batches = sorted({job_id.text.partition(".")[0] for job_id in job_ids})
        wanted = set(job_ids)
        rows = yield from _table(batches)
        return {job_id: status for job_id, status, _ in rows if job_id in wanted}

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        rows = yield from _table([])
        return [job_id for job_id, status, job_name in rows if is_called(job_name, name) and not status.state.is_final]

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["acdel", *map(str, job_ids)])
        except CommandFailed as error:
            said = error.completed.stderr.splitlines()
            if not said or not all(line.endswith("is not running") for line in said):
                raise

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        found = re.search(r"^acsub: (no queue .*)$", completed.stderr, re.MULTILINE)
        return Failure(kind=FailureKind.FATAL, message=found[1]) if found else None

    # --- inside a job ------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if "AC_BATCH" not in environ:
            return None
        return Allocation(
            job_id=JobId(f"{environ['AC_BATCH']}.{environ['AC_INDEX']}"), hosts=environ["AC_HOSTS"].split()
        )
        yield

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        # ssh hands one line to a shell on the other side.
        return [["ssh", host, shlex.join(command)] for host in allocation.hosts]

    # --- the site ----------------------------------------------------------------------------------------------

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["acstat", "--version"])
        name, _, version = done.last_line().partition(" ")
        return Detected(version=version, evidence="acstat --version") if name == "acme" else None


def _table(batches: Sequence[str]) -> Conversation[list[tuple[JobId, JobStatus, str]]]:
    """The rows ``id|state|host|exit code|name`` of acstat."""
    try:
        done = yield Command(["acstat", *batches])
    except CommandFailed as error:
        # One batch is forgotten; the others are printed.
        if "acstat: no batch" not in error.completed.stderr:
            raise
        done = error.completed
    rows = []
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"(\d+\.\d+)\|(\w+)\|(\S*)\|(\d*)\|(.*)", line):
            rows.append(match.groups())
        elif re.match(r"\d+\.\d+\|", line):
            pass_over(line, f"{line.partition('|')[0]} is not id|state|host|exit code|name")
    if done.lines() and not rows and done.returncode == 0:
        raise ParseError("not a job table", done.stdout)
    return [(JobId(job_id), _status(word, host, code), name) for job_id, word, host, code, name in rows]


def _status(word: str, host: str, code: str) -> JobStatus:
    return JobStatus(
        state=STATES.get(word, JobState.UNKNOWN),
        native=word,
        hosts=[host] if host else [],
        exit_code=int(code) if code else None,
    )
