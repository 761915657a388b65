"""corral on Quern, a made-up batch system without arrays: one qnput is one job, on one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

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
    ParseError,
    Resources,
    Script,
    hookimpl,
    job_body,
)
from corral.plugin.parsing import header, is_called, pass_over

PREFIX = "#QN"
MEBI = 2**20

STATES = {
    "waiting": JobState.PENDING,
    "grinding": JobState.RUNNING,
    "ground": JobState.COMPLETED,
    "broken": JobState.FAILED,
    "taken off": JobState.CANCELLED,
    "paused": JobState.SUSPENDED,
}

#: Directives of its own, each with the unit in which it counts.
_FIELDS = ("name", "cpus", "mem", "minutes", "to", "for", "log")


class Quern:
    """No options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="Quern",
        commands=("qnput",),
        no_queues="has one queue",
        directives=(r"#QN\b",),
        enclosing=("QUERN_JOB*",),
        carried=("QUERN_HOST",),
    )

    # --- the request -------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        if job.resources.nodes > 1 or job.resources.gpus:
            raise InvalidRequest("nodes" if job.resources.nodes > 1 else "gpus", "a quern is one machine, without any")
        for argument in ("name", "queue", "account", "log_directory"):
            if not re.fullmatch(r"[\w./-]*", getattr(job, argument) or ""):
                raise InvalidRequest(argument, "Quern allows letters, digits, '_', '.', '/' and '-'")
        memory, walltime = job.resources.memory, job.walltime
        return evolve(
            job,
            resources=evolve(job.resources, memory=None if memory is None else -(-memory // MEBI) * MEBI),
            walltime=None if walltime is None else -(-walltime // 60) * 60,
        )

    @hookimpl
    def render_script(self, job: Job) -> Script:
        need = job.resources
        log = f"{job.log_directory}/@.log" if job.log_directory else None
        values = {
            "name": job.name,
            "cpus": None if "cores" in job.skip else need.cores,
            "mem": None if need.memory is None or "memory" in job.skip else need.memory // MEBI,
            "minutes": None if job.walltime is None or "walltime" in job.skip else job.walltime // 60,
            "to": job.queue,
            "for": job.account,
            "log": log,
        }
        own = [f"{name} {value}" for name, value in values.items() if value is not None and name not in job.skip]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=[
                Directive(name=text.partition(" ")[0], text=f"{PREFIX} {text}")
                for text in [*own, *job.extra_directives]
            ],
            body=job_body(job, job_id="$QUERN_JOB"),
            log=None if log is None else log.replace("@", "{id}"),
        )

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = header(text, PREFIX)
        pairs = [line.partition(" ")[::2] for line in lines]
        said = {name: value for name, value in pairs if name in _FIELDS}
        try:
            return Job(
                name=said.get("name", ""),
                resources=Resources(
                    cores=int(said.get("cpus", 1)), memory=int(said["mem"]) * MEBI if "mem" in said else None
                ),
                walltime=int(said["minutes"]) * 60 if "minutes" in said else None,
                queue=said.get("to"),
                account=said.get("for"),
                log_directory=said["log"].removesuffix("/@.log") if "log" in said else None,
                extra_directives=[line for line, (name, _) in zip(lines, pairs, strict=True) if name not in _FIELDS],
                shebang=shebang or Job().shebang,
            )
        except ValueError as error:
            raise ParseError("a number is expected", text) from error

    # --- its life ----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        done = yield Command(["qnput"], stdin=str(script))
        answer = re.fullmatch(r"sack (q\d+) is waiting", done.last_line())
        if answer is None:
            raise ParseError("qnput did not name a sack", done.stdout)
        return [JobId(answer[1])]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = set(job_ids)
        return {job_id: status for job_id, status, _ in (yield from _table()) if job_id in wanted}

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        return [
            job_id
            for job_id, status, called in (yield from _table())
            if is_called(called, name) and not status.state.is_final
        ]

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["qndrop", *map(str, job_ids)])
        except CommandFailed as error:
            said = error.completed.stderr.splitlines()
            if not said or not all(re.fullmatch(r"qndrop: no sack q\d+", line) for line in said):
                raise

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        said = completed.stderr.strip()
        kinds = {"qnput: the miller is out": FailureKind.TRANSIENT, "qnput: your sacks are 50": FailureKind.LIMIT}
        return Failure(kind=kinds[said], message=said) if said in kinds else None

    # --- inside a job, and the site ----------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if "QUERN_JOB" not in environ:
            return None
        done = yield Command(["cat", environ["QUERN_JOB_FILE"]])
        host, _, cores = done.last_line().partition(" ")
        if not host or not cores.isdecimal():
            raise ParseError("this is not a host and its processors", done.stdout)
        return Allocation(job_id=JobId(environ["QUERN_JOB"]), hosts=[host], cores=int(cores))

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [list(command)]

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["qnput", "-V"])
        answer = re.fullmatch(r"quern (\d[\d.]*)", done.last_line())
        return Detected(version=answer[1], evidence="qnput -V") if answer else None


def _table() -> Conversation[list[tuple[JobId, JobStatus, str]]]:
    """The rows ``id;state;exit code;name`` of qnlist."""
    done = yield Command(["qnlist", "--all"])
    rows = []
    for line in done.lines():
        if match := re.fullmatch(r"(q\d+);([^;]*);(\d*);(.*)", line):
            rows.append(match.groups())
        elif re.match(r"q\d+;", line):
            pass_over(line, f"{line.partition(';')[0]} is not id;state;exit code;name")
    if done.lines() and not rows:
        raise ParseError("not a list of sacks", done.stdout)
    return [
        (
            JobId(job_id),
            JobStatus(
                state=STATES.get(word, JobState.UNKNOWN), native=word, exit_code=int(code) if code.isdecimal() else None
            ),
            name,
        )
        for job_id, word, code, name in rows
    ]
