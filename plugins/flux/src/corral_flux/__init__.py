"""Flux, in the order in which a job meets it: its directives, the commands about it, its life inside.

One ``flux submit --cc`` starts a thousand jobs, each with an id of its own. The script travels in an argument, in
base64. A job of several nodes is an instance of Flux in which the script runs once, as ``flux batch`` does it.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from attrs import evolve, frozen

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
    InvalidRequest,
    Job,
    JobId,
    JobStatus,
    Option,
    ParseError,
    Queue,
    RankVariables,
    Script,
    hookimpl,
    job_body,
    visible_gpus,
)
from corral.plugin.parsing import is_called
from corral_flux import answers, directives

__all__ = ["Flux"]

#: `Job.skip` knows these directives by a word too.
_WORDS = {
    "nodes": "nodes",
    "ntasks": "nodes",
    "instance": "nodes",
    "cores-per-task": "cores",
    "gpus-per-task": "gpus",
    "time-limit": "walltime",
}

#: The argument that an error about a directive names.
_ARGUMENTS = {"job-name": "name", "queue": "queue", "bank": "account", "output": "log_directory"}

#: Jobs named singly in one command: above it all of the user's are listed, and cancelled in several commands.
_LISTED = 4000


@frozen(kw_only=True)
class Flux:
    """The backend ``flux``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="Flux",
        url="https://flux-framework.org",
        tried="Flux 0.88.0",
        commands=("flux",),
        directives=(r"#[^\w\n]*(?:flux|FLUX):",),
        variables=("FLUX_URI",),
        # FLUX_URI stays: it is the instance.
        enclosing=("FLUX_ENCLOSING_ID", "FLUX_JOB_*", "FLUX_TASK_*"),
        server=("FLUX_*",),
        no_options={
            "arrays": "Flux has no arrays, only jobs that are submitted together, max_array_size of them",
            "memory_option": "Flux cannot be asked for memory: ask for as many cores as have it",
        },
        unenforced={"memory"},
        job=("FLUX_JOB_ID",),
        ranks=RankVariables(rank="FLUX_TASK_RANK", sizes=("FLUX_JOB_SIZE",), launch=("FLUX_JOB_ID",)),
        node=("FLUX_TASK_RANK",),
        # An instance is started in a job of whatever else there is.
        is_inner=True,
    )

    max_array_size: Annotated[
        int, Option("The most jobs in one `flux submit`, which takes about 3 ms for each", at_least=1)
    ] = 1000

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        # Memory stays in the request: Flux is not asked for it, and the workers' limits follow it.
        if job.resources.memory is not None and job.resources.memory < 1:
            raise InvalidRequest("memory", "workers need some")
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest(
                "walltime", "0 means no limit to Flux; if you want that, extra directive --time-limit=0"
            )
        return job

    @hookimpl
    def render_script(self, job: Job) -> Script:
        replaced = {name for extra in job.extra_directives for name in directives.checked(extra)}
        lines = [
            Directive(name=name, text=f"{directives.PREFIX} {text}")
            for name, text in _lines(job)
            if not job.skip & {name, _WORDS.get(name)} and name not in replaced
        ]
        has_log = job.log_directory is not None and any(line.name == "output" for line in lines)
        lines += [
            Directive(name=directives.options(extra)[0].name, text=f"{directives.PREFIX} {extra}")
            for extra in job.extra_directives
        ]
        return Script(
            name=job.name,
            shebang=directives.without_braces(job.shebang, "shebang"),
            directives=tuple(lines),
            # The script of an instance is in no job of it; the instance is one.
            body=job_body(job, job_id="${FLUX_JOB_ID:-$FLUX_ENCLOSING_ID}"),
            log=f"{job.log_directory}/{{id}}.log" if has_log else None,
        )

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = directives.header(text)
        said, extras = directives.split(lines)
        try:
            job = directives.job(said)
        except ValueError as error:
            raise ParseError(str(error), text) from error
        return evolve(job, extra_directives=(*extras, *directives.left(said, job)), shebang=shebang or job.shebang)

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        count = min(count, self.max_array_size)
        try:
            done = yield _flux_submit(script, count)
        except CommandFailed as error:
            # A limit that was reached on the way: those before it are ours.
            if not (ids := answers.submitted(error.completed.stdout, count)):
                raise
            return ids
        if not (ids := answers.submitted(done.stdout, count)):
            raise ParseError("flux submit accepted the jobs and its answer has no id", done.stdout + done.stderr)
        return ids

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = {job_id.text: job_id for job_id in job_ids}
        which = list(wanted) if len(wanted) <= _LISTED else ["-a", "-c", "0"]
        done = yield from _flux_jobs(answers.STATUS_FORMAT, *which)
        return answers.statuses(done.stdout, wanted)

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for first in range(0, len(job_ids), _LISTED):
            which = [job_id.text for job_id in job_ids[first : first + _LISTED]]
            try:
                yield Command(["flux", "cancel", *which])
            except CommandFailed as error:
                if not _says_only(answers.GONE, error.completed.stderr):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        # flux jobs knows whole names only.
        which = [] if name.endswith("*") else [f"--name={name}"]
        done = yield from _flux_jobs(answers.columns("id.f58plain name"), "-c", "0", *which)
        return [JobId(text) for text, found in answers.rows(done.stdout, 2) if is_called(found, name)]

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        fields = "id.f58plain state urgency sched.t_estimate!D dependencies sched.reason_pending"
        done = yield from _flux_jobs(answers.columns(fields), job_id.text)
        for _, state, urgency, estimate, dependencies, reason in answers.rows(done.stdout, 6):
            if state in ("DEPEND", "PRIORITY", "SCHED"):
                when = f"; Flux expects to start it at {estimate.replace('T', ' ')}" if estimate else ""
                return answers.pending_words(state, urgency, dependencies, reason) + when
        return ""

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield Command(["flux", "queue", "list", "-n", "-o", answers.QUEUE_FORMAT])
        return answers.queues(done.stdout)

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        # `flux version` answers where no Flux runs, too.
        done = yield Command(["flux", "getattr", "version"])
        match = re.fullmatch(r"(\d+\.\d+\.\d+)\S*", done.last_line(), re.ASCII)
        return Detected(version=match[1], evidence="flux getattr version") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        parent = []
        if not (text := environ.get("FLUX_JOB_ID")):
            if not (text := environ.get("FLUX_ENCLOSING_ID")):
                return None
            parent = ["--parent"]  # the instance is a job of the one above it
        job_id = answers.job_id(text)
        done = yield Command(["flux", *parent, "job", "info", job_id.text, "R"])
        granted = answers.granted(done.stdout)
        return Allocation(
            job_id=job_id,
            hosts=granted.hosts,
            cores=granted.cores,
            gpus=visible_gpus(environ, of_node=granted.gpus),
            ends=granted.ends,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        nodes = len(allocation.hosts)
        options = [f"--nodes={nodes}", f"--ntasks={nodes}", "--exclusive"]
        # What ends on one node, ends there.
        return [["flux", "run", *options, "--setopt=exit-timeout=none", "--setopt=mpi=none", *command]]


# --- the directives themselves ----------------------------------------------------------------------------------


def _options(job: Job) -> Iterator[tuple[str, str]]:
    """What a job asks for, as options of ``flux submit``."""
    resources = job.resources
    if job.name:
        yield "job-name", job.name
    if job.queue is not None:
        yield "queue", job.queue
    if job.account is not None:
        yield "bank", job.account
    yield "nodes", str(resources.nodes)
    yield "ntasks", str(resources.nodes)
    yield "cores-per-task", str(resources.cores)
    if resources.gpus:
        yield "gpus-per-task", str(resources.gpus)
    if resources.memory is not None:
        yield "memory", str(resources.memory)
    if job.walltime is not None:
        yield "time-limit", f"{job.walltime}s"
    if job.excluded_hosts:
        yield "requires", f"-host:{','.join(job.excluded_hosts)}"
    yield "output", directives.log_pattern(job.log_directory)


def _lines(job: Job) -> Iterator[tuple[str, str]]:
    """The name and the text of each directive."""
    for name, value in _options(job):
        argument = _ARGUMENTS.get(name, name)
        plain = value if name == "output" else directives.without_braces(value, argument)
        yield name, directives.written(name, plain, argument)
    if job.resources.nodes > 1:
        yield "instance", directives.INSTANCE
    yield "environment", directives.ENVIRONMENT


# --- the commands themselves ------------------------------------------------------------------------------------

#: On level 3 its log would say, after the job's own last words, which command ended with which code.
_START = ("flux", "start", "--setattr=log-stderr-level=2")


def _flux_submit(script: Script, count: int) -> Command:
    lines = [directive.text.removeprefix(directives.PREFIX) for directive in script.directives]
    body = base64.b64encode(script.body.encode()).decode()
    return Command(
        [
            "flux",
            "submit",
            *(word for line in lines for word in shlex.split(line, comments=True)),
            f"--cc=0-{count - 1}" if count > 1 else "--cc=0",
            *(_START if directives.nodes(lines) > 1 else ()),
            *shlex.split(script.shebang.removeprefix("#!")),
            "-c",
            f'eval "$(echo {body} | base64 -d)"',
        ]
    )


def _flux_jobs(columns: str, *which: str) -> Conversation[Completed]:
    try:
        return (yield Command(["flux", "jobs", "-n", "-o", columns, *which]))
    except CommandFailed as error:
        # It fails if it knows none of the ids.
        if not _says_only(answers.UNKNOWN, error.completed.stderr):
            raise
        return error.completed


def _says_only(words: str, stderr: str) -> bool:
    complaints = Completed(stdout=stderr).lines()
    return bool(complaints) and all(re.search(words, line) for line in complaints)
