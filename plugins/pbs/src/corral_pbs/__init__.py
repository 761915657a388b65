"""PBS Pro and OpenPBS, in the order in which a job meets them: its directives, the commands about it, its life inside.

Every job is an element of an array, so that one ``qsub`` starts a thousand and each is named by what it sees itself:
``$PBS_JOBID``, which is ``73[0].server``. Where arrays are refused each is a submission of its own, ``73.server``.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from attrs import evolve, field, frozen

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
    Script,
    array_as_large_as_taken,
    arrayed_or_alone,
    hookimpl,
    job_body,
    visible_gpus,
)
from corral.plugin.parsing import hours_and_time, in_units
from corral_pbs import answers, directives

__all__ = ["PBS"]

#: The argument that an error about a directive names.
_ARGUMENTS = {"N": "name", "q": "queue", "A": "account", "P": "account"}

#: qsub refuses the one without the other: they are left out together.
_WITH = {"place": "select"}

#: qsub(1B): what a name may be made of, and how much of it.
_NAME = re.compile(r"[A-Za-z][\w+.-]{0,229}", re.ASCII)

_MEBI = 2**20

#: Where the output of a job goes, in its script and as it is read back. PBS would bring it when the job has ended, and
#: send a mail, whatever -m says, about each that it cannot bring.
_REDIRECTION = '[ ! -d {log} ] || {{ export PBS_JOB_LOG={log}/"$PBS_JOBID.log"; exec >>"$PBS_JOB_LOG" 2>&1; }}'
_REDIRECTED = re.compile(
    r'^\[ ! -d (.*?) \] \|\| \{ export PBS_JOB_LOG=\1/"\$PBS_JOBID\.log"; exec ', re.MULTILINE | re.DOTALL
)
#: The same, where pbs_tmrsh starts something: of what that prints, PBS makes one file, which is the one that -o names.
_ALSO_REDIRECTED = ("/bin/sh", "-c", '[ ! -d "${0%/*}" ] || exec >>"$0" 2>&1; exec "$@"')

#: Ids in one command; the kernel's limit for arguments is not far.
_LISTED = 2500


@frozen(kw_only=True)
class PBS:
    """The backend ``pbs``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="PBS",
        url="https://www.openpbs.org",
        tried="OpenPBS 23.06.06",
        commands=("qsub",),
        directives=(r"#PBS\b",),
        array=r"-J\b",
        variables=("PBS_CONF_FILE",),
        files=("/etc/pbs.conf",),
        enclosing=(
            "PBS_ARRAY_*", "PBS_ENVIRONMENT", "PBS_GPUFILE", "PBS_JOB*", "PBS_MOMPORT", "PBS_NODE*", "PBS_NUM_*",
            "PBS_O_*", "PBS_QUEUE", "PBS_TASKNUM", "PBS_VNODENUM", "PBS_WALLTIME",
        ),
        server=("PBS_*",),
        # The last is no server, but prepare_job reads it there as well.
        carried=("PBS_CONF_FILE", "PBS_EXEC", "PBS_HOME", "PBS_SERVER", "PBS_ACCOUNT"),
        job=("PBS_JOBID",),
        no_options=dict.fromkeys(
            ("memory_option", "memory_resource"),
            "each chunk asks for its own mem. pmem and pvmem are limits of each process to PBS, which reserves nothing "
            "by them; where a site counts them all the same, say extra_directives=['-l pmem=4gb'] and "
            "skip_directives=['memory']",
        ),
    )  # fmt: skip

    max_array_size: Annotated[
        int, Option("The largest array of one submission; corrected from `qstat -B -f` when PBS refuses it", at_least=1)
    ] = 10_000
    arrays: Annotated[
        bool,
        Option(
            "`False` where the site refuses job arrays: each job is a submission of its own. Found out by itself "
            "where a refusal speaks of arrays, or where max_array_size is 1"
        ),
    ] = True
    account_option: Annotated[
        str, Option("What `account=` is: an account (`-A`), or a project (`-P`)", choices=("A", "P"))
    ] = "A"
    gpu_resource: Annotated[str, Option("The resource that counts the GPUs of a chunk", pattern=r"[A-Za-z]\w*")] = (
        "ngpus"
    )
    chunk: Annotated[
        str,
        Option(
            "What every chunk asks for in addition: `'model=bro'`, `'gpu_type=a100:mpiprocs=1'`",
            pattern=r"([A-Za-z][\w.]*=[\w.-]+(:[A-Za-z][\w.]*=[\w.-]+)*)?",
            example="model=bro",
        ),
    ] = ""
    place: Annotated[
        str,
        Option("`-l place` for jobs with several nodes", pattern=r"[a-z]+(:[a-z]+(=\w+)?)*", example="scatter:excl"),
    ] = "scatter"
    history: Annotated[bool, Option("`False` saves one command per poll where the site keeps no job history")] = True

    #: What this site has refused: it is not tried again.
    _lacks: set[str] = field(factory=set, init=False, repr=False, eq=False)
    #: Other servers that jobs were submitted to, or should have been.
    _elsewhere: set[str] = field(factory=set, init=False, repr=False, eq=False)

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        resources = job.resources
        if resources.memory is not None:
            if resources.memory < 1:
                raise InvalidRequest("memory", "0 means no memory to PBS; skip=['memory'] asks for none")
            resources = evolve(resources, memory=in_units(resources.memory, "M") * _MEBI)
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest("walltime", "PBS would end the job as it starts; skip=['walltime'] asks for none")
        if job.name and not _NAME.fullmatch(job.name):
            raise InvalidRequest(
                "name", f"{job.name!r} must be letters, digits and '-_+.', beginning with a letter, at most 230"
            )
        # As several centres' own qsub reads it, and dask-jobqueue.
        account = job.account if job.account is not None else os.environ.get("PBS_ACCOUNT") or None
        return evolve(job, resources=resources, account=account)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        replaced = {
            name
            for extra in job.extra_directives
            for option in directives.checked(extra)
            for name in directives.replaced_by(option)
        }
        lines = [
            Directive(
                name=_WITH.get(name, name), text=_line(directives.written(name, value, _ARGUMENTS.get(name, name)))
            )
            for name, value in self._options(job)
            if not job.skip & {name, _WITH.get(name, name)} and name not in replaced
        ]
        log = job.log_directory if any(line.name == "o" for line in lines) else None
        lines += [
            Directive(name=directives.checked(extra)[0].name, text=_line(extra)) for extra in job.extra_directives
        ]
        redirection = [] if log is None else [_REDIRECTION.format(log=shlex.quote(log))]
        # PBS sets OMP_NUM_THREADS to the cores of the job; a worker has its share of them.
        body = [*redirection, "unset OMP_NUM_THREADS", job_body(job, job_id="${PBS_JOBID}")]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=tuple(lines),
            body="\n".join(body),
            log=None if log is None else f"{log}/{{id}}.log",
        )

    def _options(self, job: Job) -> Iterator[tuple[str, str]]:
        """What a job asks for: qsub's options, and the parts of its ``-l``."""
        if job.name:
            yield "N", job.name
        if job.queue is not None:
            yield "q", job.queue
        if job.account is not None:
            yield self.account_option, job.account
        select = self._select(job)
        if select:
            yield "select", select
            if job.resources.nodes > 1 and "nodes" not in job.skip:
                yield "place", self.place
        if job.walltime is not None:
            yield "walltime", hours_and_time(job.walltime)
        yield "j", "oe"
        yield "o", "/dev/null"
        yield "m", "n"  # or a mail for each job that is cancelled

    def _select(self, job: Job) -> str:
        """``2:ncpus=36:mem=92160mb:ngpus=4``; what is skipped is left out of it."""
        resources = job.resources
        parts = []
        if not job.skip & {"nodes"}:
            parts.append(str(resources.nodes))
        if not job.skip & {"cores", "ncpus"}:
            parts.append(f"ncpus={resources.cores}")
        if resources.memory is not None and not job.skip & {"memory", "mem"}:
            parts.append(f"mem={in_units(resources.memory, 'M')}mb")
        if resources.gpus and not job.skip & {"gpus", self.gpu_resource}:
            parts.append(f"{self.gpu_resource}={resources.gpus}")
        return ":".join([*parts, *filter(None, [self.chunk])])

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = directives.header(text)
        try:
            said, extras = directives.split(lines)
            job = directives.job(said, extras, account=self.account_option, gpus=self.gpu_resource)
            if log := _REDIRECTED.search(text):
                job = evolve(job, log_directory="".join(shlex.split(log[1])))
            replaced = {
                name for extra in extras for each in directives.checked(extra) for name in directives.replaced_by(each)
            }
            extras = directives.by_node(extras, job, has_chunks="select" not in replaced)
            # What our own directives would not say of this job stays the user's.
            ours = set(self._options(job))
            left = [
                directives.written(name, value, name)
                for name, value in said.items()
                if (name, value) not in ours
                and not directives.is_said(name, value, job, gpus=self.gpu_resource, chunk=self.chunk)
            ]
        except ValueError as error:
            raise ParseError(str(error), text) from error
        return evolve(job, extra_directives=(*extras, *left), shebang=shebang or job.shebang)

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        if where := _server_of(script):
            self._elsewhere.add(where)
        array = self._array(script, min(count, self.max_array_size)) if self.arrays else None
        return (
            yield from arrayed_or_alone(
                array, lambda: _alone(script), count, classify=answers.failure, lacks=self._lacks
            )
        )

    def _array(self, script: Script, size: int) -> Conversation[list[JobId]]:
        where = _server_of(script)
        done, size = yield from array_as_large_as_taken(
            functools.partial(_qsub, script), size, refused=re.escape(answers.TOO_LARGE), limit=_array_limit(where),
            setting="max_array_size = ",
        )  # fmt: skip
        number, server_name = answers.array(done)
        return [JobId(f"{number}[{index}]{server_name}", where=where) for index in range(size)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = {job_id.text: job_id for job_id in job_ids}
        self._elsewhere.update(job_id.where for job_id in job_ids if job_id.where)
        found: dict[JobId, JobStatus] = {}
        for ids in _portions(answers.arrays(job_ids)):
            # Never a mixture of short and long ids: a server is reported to have crashed over one.
            done = yield from _qstat(["-x"] if self.history else [], ids)
            found |= answers.statuses(done.stdout, wanted)
        return found

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for ids in _portions(answers.folded(job_ids)):
            try:
                yield Command(["qdel", *ids])
            except CommandFailed as error:
                if not _all_gone(error.completed):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        user = yield from _user()
        # By state: elements that were deleted are listed until their array has ended.
        whose = ["-u", user] if user else []
        which = [] if name.endswith("*") else ["-N", name]
        found_by_server: list[JobId] = []
        for where in ("", *sorted(self._elsewhere)):
            at = ["-q", f"@{where}"] if where else []
            done = yield Command(["qselect", "-T", "-s", "EHQRSTUW", *whose, *which, *at])
            found_by_server += answers.element_ids(done.stdout, where)
        # The default server may have been named as well.
        listed = list(dict.fromkeys(found_by_server))
        if which:
            return listed
        # qselect knows whole names only, and tells none.
        found: list[JobId] = []
        for ids in _portions(answers.arrays(listed)):
            done = yield from _qstat([], ids)
            found += answers.named(done.stdout, name, listed)
        return found

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        # With its array, which says whether it is held.
        done = yield from _qstat([], answers.arrays([job_id]))
        status = answers.statuses(done.stdout, {job_id.text: job_id}).get(job_id)
        return "" if status is None else answers.patience(status)

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        user = yield from _user()
        server = yield Command(["qstat", "-B", "-f"])
        queues = yield Command(["qstat", "-Q", "-f"])
        return answers.queues(
            queues.stdout,
            answers.default_queue(server.stdout),
            user=user,
            gpus=self.gpu_resource,
        )

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        try:
            done = yield Command(["qstat", "--version"])
        except CommandFailed:
            return None  # Grid Engine's qstat has no such option
        # "pbs_version = 23.06.06", "pbs_version = PBSPro_13.0.403"; TORQUE says "Version: 6.1.3".
        match = re.search(r"^pbs_version = (?:PBSPro_)?(\d\S*)", done.stdout, re.MULTILINE)
        return Detected(version=match[1], evidence="qstat --version") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        """PBS tells a job neither its memory nor its end, and it is not asked: a thousand jobs start at once."""
        if "PBS_JOBID" not in environ or "PBS_NODEFILE" not in environ or _is_of_torque(environ):
            return None
        done = yield Command(["cat", environ["PBS_NODEFILE"]])
        # A line for each process that MPI would start; the job's script runs on the first.
        hosts = tuple(dict.fromkeys(done.lines()))
        if not hosts or any(" " in host for host in hosts):
            raise ParseError("these are not names of hosts", done.stdout)
        cores = environ.get("NCPUS", "")
        return Allocation(
            job_id=JobId(environ["PBS_JOBID"]),
            hosts=hosts,
            cores=int(cores) if cores.isdecimal() and int(cores) else None,
            gpus=visible_gpus(environ),
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        log = os.environ.get("PBS_JOB_LOG")
        words = [*_ALSO_REDIRECTED, log, *command] if log else command
        return [["pbs_tmrsh", host, *words] for host in allocation.hosts]


def _user() -> Conversation[str]:
    """The name of the user, where commands run: over ssh, the process that asks may be another's."""
    done = yield Command(["id", "-un"])
    user = done.last_line()
    if user and not re.fullmatch(r"\S+", user):
        raise ParseError("this is not a user's name", done.stdout)
    return user


def _is_of_torque(environ: Mapping[str, str]) -> bool:
    """TORQUE's jobs find the same variables. Sites of PBS may set TORQUE's, but PBS_JOBDIR is PBS's alone."""
    is_said = "PBS_NUM_PPN" in environ or environ.get("PBS_VERSION", "").startswith("TORQUE")
    return is_said and "PBS_JOBDIR" not in environ


# --- the commands themselves ------------------------------------------------------------------------------------


def _line(options: str) -> str:
    return f"{directives.PREFIX} {options}"


def _qsub(script: Script, size: int | None) -> Command:
    # The smallest array that qsub takes has two indices, or a step beyond the second.
    indices = [] if size is None else ["-J", f"0-{size - 1}" if size > 1 else "0-1:2"]
    # PBS_DPREFIX in the user's environment would make comments of our directives.
    return Command(["qsub", "-C", directives.PREFIX, *indices], stdin=str(script))


def _array_limit(where: str) -> Conversation[int | None]:
    server = yield Command(["qstat", "-B", "-f", *([where] if where else [])])
    queues = yield Command(["qstat", "-Q", "-f", *([f"@{where}"] if where else [])])
    return answers.array_limit([server.stdout, queues.stdout])


def _alone(script: Script) -> Conversation[JobId]:
    """A job that is no element of an array: PBS calls its log by the same rule, and tells it its id likewise."""
    done = yield _qsub(script, None)
    return JobId(answers.single(done), where=_server_of(script))


def _server_of(script: Script) -> str:
    """The server that a queue like ``batch@other`` is on."""
    for directive in reversed(script.directives):
        for option in directives.checked(directive.text.removeprefix(directives.PREFIX).strip()):
            if option.name == "q":
                return (option.value or "").partition("@")[2]
    return ""


def _qstat(history: Sequence[str], ids: Sequence[str]) -> Conversation[Completed]:
    """Attributes of these jobs and of their elements. Unknown ones make qstat fail, after it told of the others."""
    try:
        done = yield Command(["qstat", *history, "-t", "-f", *ids])
    except CommandFailed as error:
        done = error.completed
        if answers.NO_HISTORY not in done.stderr and not _all_gone(done):
            raise
    # OpenPBS 23.06 says so with exit code 0.
    if history and answers.NO_HISTORY in done.stderr:
        done = yield from _qstat([], ids)
    return done


def _all_gone(completed: Completed) -> bool:
    complaints = answers.complaints(completed)
    return bool(complaints) and all(answers.GONE.search(line) for line in complaints)


def _portions(words: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(words), _LISTED):
        yield words[begin : begin + _LISTED]
