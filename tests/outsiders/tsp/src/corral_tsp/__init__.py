"""Task Spooler, in the order in which a job meets it: its directives, the commands about it, its life inside.

Task Spooler (``tsp``) queues command lines on one host, for one user. It reads no script and has no directives, arrays,
walltime or memory. So what it takes as options stands in lines of the script that begin with ``#TSP``, `submit` gives
them to it, and a launcher of a few lines does the rest inside the job (`LAUNCHER`): it finds the job's id, opens its
log, and ends it after its walltime.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from attrs import frozen

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
    arrayed_or_alone,
    hookimpl,
    job_body,
    parsing,
)

#: Task Spooler itself sees these lines as comments: `submit` reads them.
PREFIX = "#TSP"

#: Set by the launcher. Newer versions tell a job its id, that of Debian 12 does not.
JOB_ID = "$TSP_JOB"

STATES = {
    "queued": JobState.PENDING,
    "running": JobState.RUNNING,
    "finished": JobState.COMPLETED,  # if its exit code is 0
    "skipped": JobState.CANCELLED,  # the job that it depended on failed
}

#: What `timeout` exits with when the time is over.
TIMED_OUT = 124

#: What the launcher is told, and the job need not hear.
SCRIPT, SHELL, LOGS, SECONDS, RUN = "TSP_SCRIPT", "TSP_SHELL", "TSP_LOGS", "TSP_SECONDS", "TSP_RUN"

#: Runs as the job; what it needs is in its environment, as data. The job's number is that under which Task Spooler
#: knows this very process: it hears of it a moment after the start.
LAUNCHER = r"""
tries=0
while :; do
    for TSP_JOB in $(tsp | awk '$2 == "running" && $1 ~ /^[0-9]+$/ { print $1 }'); do
        [ "$(tsp -p "$TSP_JOB" 2>/dev/null)" != "$$" ] || break 2
    done
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "Task Spooler does not say which job process $$ is" >&2; exit 1; }
    sleep 0.1
done
TSP_HOST=$(uname -n)
export TSP_JOB TSP_HOST
if [ -n "$TSP_LOGS" ]; then exec >"$TSP_LOGS/$TSP_JOB.log" 2>&1; else exec >/dev/null 2>&1; fi
set -f
set -- $TSP_SHELL -c "$TSP_SCRIPT"
if [ -n "$TSP_SECONDS" ]; then
    TSP_ENDS=$(($(date +%s) + TSP_SECONDS))
    export TSP_ENDS
    set -- timeout --kill-after=30 "$TSP_SECONDS" "$@"
fi
# corral runs commands in C.
unset TSP_SCRIPT TSP_SHELL TSP_LOGS TSP_SECONDS TSP_RUN LC_ALL tries
exec "$@"
"""

#: What Task Spooler hands on to the job, with the rest of its command's environment: where its queue is, and what a
#: login would set.
INHERITED = ("TS_*", "TMPDIR", "HOME", "USER", "LOGNAME", "SHELL", "LANG")


@frozen(kw_only=True)
class Tsp:
    """The backend ``tsp``: it has no options. ``TS_SOCKET`` selects a queue, ``TS_SLOTS`` how many cores it has."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="Task Spooler",
        url="https://viric.name/soft/ts/",
        tried="Task Spooler 1.0.1",
        no_queues="has one queue for each TS_SOCKET",
        commands=("tsp",),
        directives=(r"#TSP\b",),
        enclosing=("TSP_*",),
        server=("TS_SOCKET", "TMPDIR"),
        carried=("TS_SOCKET", "TMPDIR"),
        job=("TSP_JOB",),
        unenforced={"memory"},
        is_free_to_ask=True,
    )

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        if job.resources.nodes > 1:
            raise InvalidRequest("nodes", "Task Spooler runs jobs on this host alone; ask for nodes=1 and more jobs")
        if job.resources.gpus:
            raise InvalidRequest(
                "gpus", "Task Spooler does not hand out GPUs; leave it out, and set CUDA_VISIBLE_DEVICES in env="
            )
        if job.queue is not None:
            raise InvalidRequest("queue", "Task Spooler has one queue for each TS_SOCKET; set that variable instead")
        if job.account is not None:
            raise InvalidRequest("account", "Task Spooler knows no accounts; leave it out")
        if not re.fullmatch(r"[\w.-]*", job.name, re.ASCII):
            raise InvalidRequest("name", f"{job.name!r} cannot be a label; use letters, digits, '_', '.' and '-'")
        if not (job.log_directory or "").isprintable():
            raise InvalidRequest("log_directory", f"{job.log_directory!r} cannot stand in a {PREFIX} line")
        return job

    @hookimpl
    def render_script(self, job: Job) -> Script:
        directives = [
            Directive(name=name, text=f"{PREFIX} {text}")
            for name, word, text in _options(job)
            if not job.skip & {name, word}
        ]
        has_log = any(each.name == "logs" for each in directives)
        directives += [
            Directive(name=extra.lstrip("-")[:1], text=f"{PREFIX} {extra}") for extra in job.extra_directives
        ]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=directives,
            body=job_body(job, job_id=JOB_ID),
            log=f"{job.log_directory}/{{id}}.log" if has_log else None,
        )

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = parsing.header(text, PREFIX)
        try:
            said, extras = _read(lines)
            return Job(
                name=said.get("-L", ""),
                resources=Resources(cores=int(said.get("-N", "1"))),
                walltime=parsing.clock_seconds(said["--time"]) if "--time" in said else None,
                log_directory=said.get("--logs"),
                extra_directives=extras,
                shebang=shebang or Job().shebang,
            )
        except ValueError as error:
            raise ParseError(str(error), text) from error

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        # There are no arrays: one tsp for each job.
        return (
            yield from arrayed_or_alone(
                None, lambda: self._alone(script), count, classify=self.classify_failure, lacks=set()
            )
        )

    def _alone(self, script: Script) -> Conversation[JobId]:
        said, extras = _read(each.text.removeprefix(PREFIX).strip() for each in script.directives)
        own = [word for option in ("-L", "-N") if option in said for word in (option, said[option])]
        done = yield Command(
            # -B: where the queue is full, say so instead of waiting.
            ["tsp", "-B", *own, *shlex.split(" ".join(extras)), "sh", "-c", f'eval "${RUN}"'],
            env={
                RUN: LAUNCHER,
                SCRIPT: str(script),
                SHELL: script.shebang.removeprefix("#!").strip(),
                LOGS: said.get("--logs", ""),
                SECONDS: str(parsing.clock_seconds(said["--time"])) if "--time" in said else "",
            },
            inherit=INHERITED,
        )
        if not re.fullmatch(r"\d+", done.last_line(), re.ASCII):
            raise ParseError("tsp did not print the number of a job", done.stdout)
        return JobId(done.last_line())

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = set(job_ids)
        rows = yield from _table()
        return {job_id: status for job_id, status, _ in rows if job_id in wanted}

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        rows = yield from _table()
        return [
            job_id for job_id, status, label in rows if parsing.is_called(label, name) and not status.state.is_final
        ]

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        # Of a job that has ended, -r would remove what is known of it, and -k would signal a process group that may be
        # another's by now. Those that wait come before those that run, in whose place they would start.
        rows = yield from _table()
        ended = {job_id for job_id, status, _ in rows if status.state.is_final}
        trouble: CommandFailed | None = None
        running = []
        for job_id in job_ids:
            try:
                if job_id not in ended:
                    yield Command(["tsp", "-r", job_id.text])
            except CommandFailed as error:
                if _says(error, f"The job {job_id} cannot be removed."):
                    running.append(job_id)
                else:
                    trouble = error
        for job_id in running:
            try:
                yield Command(["tsp", "-k", job_id.text])
            except CommandFailed as error:
                if not _says(error, f"Job {job_id} not finished or not running."):
                    trouble = error
        if trouble is not None:
            raise trouble

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        # TSDuck has a tsp, too.
        done = yield Command(["tsp", "-V"])
        found = re.match(r"Task Spooler v(\S+)", done.stdout)
        return Detected(version=found[1], evidence="tsp -V") if found else None

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        told = yield Command(["tsp", "-i", job_id.text])
        needs = re.search(r"^Slots required: (\d+)$", told.stdout, re.MULTILINE)
        if needs is None:
            raise ParseError("tsp does not say how many slots the job needs", told.stdout)
        asked = yield Command(["tsp", "-S"])
        if not re.fullmatch(r"\d+", asked.last_line(), re.ASCII):
            raise ParseError("tsp does not say how many slots it has", asked.stdout)
        slots = int(asked.last_line())
        if int(needs[1]) > slots:
            return (
                f"it will never start: it needs {needs[1]} slots, one for each core, and the queue has {slots}. Ask "
                f"for cores={slots}, or give the queue more: tsp -S {needs[1]}"
            )
        return f"it needs {needs[1]} of the queue's {slots} slots, and other jobs have or wait for them"

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        if completed.stderr.strip() == "Error, queue full":
            return Failure(kind=FailureKind.LIMIT, message="the queue is full (TS_MAXCONN)")
        return None

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if "TSP_JOB" not in environ or "TSP_HOST" not in environ:
            return None
        ends = environ.get("TSP_ENDS")
        return Allocation(
            job_id=JobId(environ["TSP_JOB"]), hosts=[environ["TSP_HOST"]], ends=None if ends is None else float(ends)
        )
        yield  # what makes this a conversation

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [list(command)]


def _options(job: Job) -> Iterator[tuple[str, str, str]]:
    """Name, word for `Job.skip` and text of each directive: Task Spooler's own options, and the launcher's."""
    if job.name:
        yield "L", "name", f"-L {job.name}"
    yield "N", "cores", f"-N {job.resources.cores}"
    if job.walltime is not None:
        yield "time", "walltime", f"--time={parsing.hours_and_time(job.walltime)}"
    if job.log_directory is not None:
        yield "logs", "log_directory", f"--logs={shlex.quote(job.log_directory)}"


def _read(lines: Iterator[str] | Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options and values of the directives that are known, and the others as they stand."""
    said: dict[str, str] = {}
    extras = []
    for line in lines:
        words = shlex.split(line)
        name, is_long, value = words[0].partition("=") if words else ("", "", "")
        if len(words) == 2 and words[0] in ("-L", "-N"):
            said[words[0]] = words[1]
        elif len(words) == 1 and is_long and name in ("--time", "--logs"):
            said[name] = value
        else:
            extras.append(line)
    return said, extras


#: A row of the list: number, state, file of its output, exit code and times if it has ended, label, command.
_ROW = re.compile(
    r"(?P<id>\d+) +(?P<state>\S+) +(?:\(no output\)|\S+) +"
    r"(?:(?P<code>-?\d+) +[\d.]+/[\d.]+/[\d.]+ )? *(?:\[(?P<label>[\w.-]+)\])?.*",
    re.ASCII,
)


def _table() -> Conversation[list[tuple[JobId, JobStatus, str]]]:
    """Number, state and label of each job in the list. A command of several lines is in several lines of it."""
    done = yield Command(["tsp", "-l"])
    rows = []
    lines = done.stdout.splitlines()
    if lines and not any(re.match(r"ID +State +Output ", line) for line in lines):
        raise ParseError("not a list of jobs", done.stdout)
    for line in lines:
        row = _ROW.fullmatch(line)
        if row and (row["state"] != "finished" or row["code"]):
            rows.append((JobId(row["id"]), _status(row["state"], row["code"]), row["label"] or ""))
        elif re.match(r"\d+ ", line):
            parsing.pass_over(line, "it is not number, state, output and command")
    return rows


def _status(word: str, told: str | None) -> JobStatus:
    state = STATES.get(word, JobState.UNKNOWN)
    if told is None:
        return JobStatus(state=state, native=word)
    # It is printed as a signed byte, and -1 is also said of all that a signal ended.
    code = int(told) % 256
    if state is not JobState.COMPLETED or code == 0:
        return JobStatus(state=state, native=word, exit_code=code)
    if code == 255:
        return JobStatus(state=JobState.FAILED, native=word, reason="ended by a signal, or with exit code 255")
    if code == TIMED_OUT:
        return JobStatus(state=JobState.TIMEOUT, native=word, reason="its walltime was over", exit_code=code)
    return JobStatus(state=JobState.FAILED, native=word, exit_code=code)


def _says(error: CommandFailed, words: str) -> bool:
    """True if this is all that a failed command says."""
    return error.completed.stderr.strip() == f"Error in the request: {words}"
