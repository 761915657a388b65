"""TORQUE, in the order in which a job meets it: its directives, the commands about it, its life inside.

Every job is an element of an array, so that one ``qsub`` starts a thousand and each is named by what it sees itself:
``$PBS_JOBID``, which is ``12[0].server``. Where arrays are refused each is a submission of its own, ``12.server``.
"""

from __future__ import annotations

import functools
import os
import re
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
    Gpus,
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
from corral_torque import answers, directives

__all__ = ["Torque"]

#: `Job.skip` knows these directives by a word too; `nodes` carries three fields, see `_node_list`.
_WORDS = dict.fromkeys(("mem", "vmem", "pmem", "pvmem"), "memory")

#: The argument that an error about a directive names.
_ARGUMENTS = {"N": "name", "q": "queue", "A": "account", "o": "log_directory"}

#: What TORQUE's elements are called is this, a dash and an index: 255 bytes in all.
_NAME = re.compile(r"[A-Za-z][\w+.-]{0,239}", re.ASCII)

_MEBI = 2**20

#: Ids in one command; the kernel's limit for arguments is not far.
_LISTED = 2500


@frozen(kw_only=True)
class Torque:
    """The backend ``torque``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="TORQUE",
        url="https://adaptivecomputing.com",
        tried="not run on a TORQUE: written from the documentation and source of TORQUE 6.1",
        commands=("qsub",),
        directives=(r"#PBS\b",),
        array=r"-t\b",
        enclosing=(
            "PBS_ARRAY_*", "PBS_ARRAYID", "PBS_ENVIRONMENT", "PBS_GPUFILE", "PBS_JOB*", "PBS_MOMPORT", "PBS_NODE*",
            "PBS_NP", "PBS_NUM_*", "PBS_O_*", "PBS_QUEUE", "PBS_TASKNUM", "PBS_VNODENUM", "PBS_WALLTIME",
        ),
        server=("PBS_*", "TORQUE*"),
        # The last is no server, but prepare_job reads it there as well.
        carried=("PBS_SERVER", "PBS_DEFAULT", "PBS_HOME", "PBS_ACCOUNT"),
        no_options={"memory_option": "memory by core is memory_resource='pmem' here"},
        job=("PBS_JOBID",),
    )  # fmt: skip

    #: Before each directive, and behind the folder of the logs: TORQUE expands the variable when a job has ended.
    prefix: ClassVar[str] = "#PBS"
    log_file: ClassVar[str] = "/$PBS_JOBID.log"

    max_array_size: Annotated[
        int,
        Option("The largest array of one submission; corrected from `qstat -B -f` when TORQUE refuses it", at_least=1),
    ] = 1000
    arrays: Annotated[
        bool,
        Option(
            "`False` where the site refuses job arrays: each job is a submission of its own. Found out by itself "
            "where a refusal speaks of arrays, or where max_job_array_size is 1"
        ),
    ] = True
    memory_resource: Annotated[
        str,
        Option(
            "The resource for memory: `mem` or `vmem`, for the whole job; or `pmem` or `pvmem`, each core's share, "
            "rounded up",
            choices=("mem", "vmem", *directives.BY_CORE),
        ),
    ] = "mem"
    properties: Annotated[
        str,
        Option(
            "Further properties that each node must have",
            pattern=r"([A-Za-z][\w.]*(=[\w.-]+)?(:[A-Za-z][\w.]*(=[\w.-]+)?)*)?",
            example="ib:gen=7",
        ),
    ] = ""

    #: What this site has refused: it is not tried again.
    _lacks: set[str] = field(factory=set, init=False, repr=False, eq=False)

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        resources = job.resources
        if resources.memory is not None:
            if resources.memory < 1:
                raise InvalidRequest("memory", "0 means no memory to TORQUE; skip=['memory'] asks for none")
            if resources.processes < self._shares(job) and not job.skip & {"memory", self.memory_resource}:
                raise InvalidRequest(
                    "processes",
                    f"{self.memory_resource} is a core's share of the memory, and no process may have more: a worker "
                    f"for each core can work so (processes={resources.cores}). Where larger ones live all the same, "
                    f"extra_directives=['-l {self.memory_resource}=4gb'] asks for it, without memory_resource=",
                )
            unit = self._shares(job) * _MEBI
            resources = evolve(resources, memory=-(-resources.memory // unit) * unit)
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest("walltime", "TORQUE would end the job as it starts; skip=['walltime'] asks for none")
        if job.name and not _NAME.fullmatch(job.name):
            raise InvalidRequest(
                "name", f"{job.name!r} must be letters, digits and '-_+.', beginning with a letter, at most 240"
            )
        # As several centres' own qsub reads it, and dask-jobqueue.
        account = job.account if job.account is not None else os.environ.get("PBS_ACCOUNT") or None
        return evolve(job, resources=resources, account=account)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        extras = [(extra, directives.checked(extra)) for extra in job.extra_directives]
        replaced = {name for _, found in extras for option in found for name in directives.replaced_by(option)}
        lines = [
            Directive(name=name, text=f"{self.prefix} {directives.written(name, value, _ARGUMENTS.get(name, name))}")
            for name, value in self._options(job)
            if not job.skip & ({name, _WORDS.get(name, name)} - {"nodes"}) and name not in replaced
        ]
        has_log = job.log_directory is not None and any(line.name == "o" for line in lines)
        lines += [Directive(name=found[0].name, text=f"{self.prefix} {extra}") for extra, found in extras]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=tuple(lines),
            body=self._body(job, has_log),
            log=f"{job.log_directory}/{{id}}.log" if has_log else None,
        )

    def _body(self, job: Job, has_log: bool) -> str:
        return job_body(job, job_id="${PBS_JOBID}")

    def _options(self, job: Job) -> Iterator[tuple[str, str]]:
        """What a job asks for: qsub's options, and the parts of its ``-l``."""
        resources = job.resources
        if job.name:
            yield "N", job.name
        if job.queue is not None:
            yield "q", job.queue
        if job.account is not None:
            yield "A", job.account
        nodes = self._node_list(job)
        if nodes:
            yield "nodes", nodes
        if resources.memory is not None:
            # Without its nodes, a job has one.
            count = 1 if "nodes" in job.skip or self._is_by_core else resources.nodes
            share = -(-resources.memory // self._shares(job))
            yield self.memory_resource, f"{in_units(share, 'M') * count}mb"
        if job.walltime is not None:
            yield "walltime", hours_and_time(job.walltime)
        yield "j", "oe"
        yield "o", directives.log_path(job.log_directory, self.log_file)
        yield "m", "n"  # or a mail for each job that is cancelled

    @property
    def _is_by_core(self) -> bool:
        return self.memory_resource in directives.BY_CORE

    def _shares(self, job: Job) -> int:
        """Into how many equal parts a node's memory is asked for: cores that are not asked for may be but one."""
        return job.resources.cores if self._is_by_core and not job.skip & {"cores", "ppn"} else 1

    def _node_list(self, job: Job) -> str:
        """``2:ppn=8:gpus=1``; what is skipped is left out of it."""
        resources = job.resources
        parts = []
        if not job.skip & {"cores", "ppn"}:
            parts.append(f"ppn={resources.cores}")
        if resources.gpus and "gpus" not in job.skip:
            parts.append(f"gpus={resources.gpus}")
        parts += filter(None, [self.properties])
        # TORQUE's list must begin with a number.
        count = 1 if "nodes" in job.skip else resources.nodes
        return ":".join([str(count), *parts]) if parts or "nodes" not in job.skip else ""

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = directives.header(text, self.prefix)
        try:
            said, extras = directives.split(lines)
            job = directives.job(said, extras, self.memory_resource, self.log_file)
            # What our own directives would not say of this job stays the user's, as does what an extra one keeps out.
            replaced = {
                name
                for extra in extras
                for option in directives.checked(extra)
                for name in directives.replaced_by(option)
            }
            ours = {(name, value) for name, value in self._options(job) if name not in replaced}
            left = [
                directives.written(name, value, name)
                for name, value in said.items()
                if (name, value) not in ours
                and (
                    name in replaced
                    or not directives.is_said(name, value, job, properties=self.properties, memory=self.memory_resource)
                )
            ]
        except ValueError as error:
            raise ParseError(str(error), text) from error
        return evolve(job, extra_directives=(*extras, *left), shebang=shebang or job.shebang)

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        array = self._array(script, min(count, self.max_array_size)) if self.arrays else None
        return (
            yield from arrayed_or_alone(
                array, lambda: _alone(script), count, classify=answers.failure, lacks=self._lacks
            )
        )

    def _array(self, script: Script, size: int) -> Conversation[list[JobId]]:
        done, size = yield from array_as_large_as_taken(
            functools.partial(_qsub, script), size, refused="Bad Job Array|array size", limit=_array_limit(),
            setting="max_job_array_size = ",
        )  # fmt: skip
        number, server_name = answers.array(done)
        return [JobId(f"{number}[{index}]{server_name}") for index in range(size)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = {job_id.text: job_id for job_id in job_ids}
        found: dict[JobId, JobStatus] = {}
        for ids in portions(answers.arrays(job_ids)):
            done = yield from _qstat(ids)
            found |= answers.statuses(done.stdout, wanted)
        return found

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for ids in portions([job_id.text for job_id in job_ids]):
            try:
                yield Command(["qdel", *ids])
            except CommandFailed as error:
                if not _all_gone(error.completed):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        user = yield from _user()
        # An element's name has its index behind it, and qselect knows whole names only.
        done = yield Command(["qstat", "-t", "-f"])
        return answers.named(done.stdout, name, user)

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        done = yield from _qstat([job_id.text])
        status = answers.statuses(done.stdout, {job_id.text: job_id}).get(job_id)
        return "" if status is None else answers.patience(status)

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        user = yield from _user()
        server = yield Command(["qstat", "-B", "-f"])
        queues = yield Command(["qstat", "-Q", "-f"])
        return answers.queues(queues.stdout, answers.default_queue(server.stdout), user=user)

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        try:
            done = yield Command(["qstat", "--version"])
        except CommandFailed:
            return None  # Grid Engine's qstat has no such option
        # On standard error: "Version: 6.1.3", "version: 2.5.12". PBS says "pbs_version = 23.06.06".
        match = re.search(r"^[Vv]ersion: (\d\S*)", f"{done.stdout}\n{done.stderr}", re.MULTILINE)
        return Detected(version=match[1], evidence="qstat --version") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        # PBS's jobs find the same variables, and PBS_JOBDIR.
        if "PBS_JOBID" not in environ or "PBS_NODEFILE" not in environ or "PBS_JOBDIR" in environ:
            return None
        done = yield Command(["cat", environ["PBS_NODEFILE"]])
        # A line for each core; the job's script runs on the first host.
        hosts = tuple(dict.fromkeys(done.lines()))
        if not hosts or any(" " in host for host in hosts):
            raise ParseError("these are not names of hosts", done.stdout)
        gpus = visible_gpus(environ)
        if not gpus and environ.get("PBS_GPUFILE"):
            done = yield Command(["cat", environ["PBS_GPUFILE"]])
            gpus = Gpus(of_node=tuple(answers.gpus(done.stdout, hosts[0])))
        cores = environ.get("PBS_NUM_PPN", "")
        return Allocation(
            job_id=JobId(environ["PBS_JOBID"]),
            hosts=hosts,
            cores=int(cores) if cores.isdecimal() and int(cores) else None,
            gpus=gpus,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [["pbsdsh", "-u", *command]]  # once on each node, whatever its ppn


def _user() -> Conversation[str]:
    """The name of the user, where commands run: over ssh, the process that asks may be another's."""
    done = yield Command(["id", "-un"])
    user = done.last_line()
    if user and not re.fullmatch(r"\S+", user):
        raise ParseError("this is not a user's name", done.stdout)
    return user


# --- the commands themselves ------------------------------------------------------------------------------------


def _qsub(script: Script, size: int | None) -> Command:
    indices = [] if size is None else ["-t", f"0-{size - 1}"]
    # PBS_DPREFIX in the user's environment would make comments of our directives.
    return Command(["qsub", "-C", Torque.prefix, *indices], stdin=str(script))


def _array_limit() -> Conversation[int | None]:
    return answers.array_limit((yield Command(["qstat", "-B", "-f"])).stdout)


def _alone(script: Script) -> Conversation[JobId]:
    """A job that is no element of an array: TORQUE tells it its id likewise, also for the name of its log."""
    done = yield _qsub(script, None)
    return JobId(answers.single(done))


def _qstat(ids: Sequence[str]) -> Conversation[Completed]:
    """Attributes of these jobs and of their elements. Unknown ones make qstat fail, after it told of the others."""
    try:
        return (yield Command(["qstat", "-t", "-f", *ids]))
    except CommandFailed as error:
        if not _all_gone(error.completed):
            raise
        return error.completed


def _all_gone(completed: Completed) -> bool:
    complaints = answers.complaints(completed)
    return bool(complaints) and all(answers.GONE.search(line) for line in complaints)


def portions(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many ids at a time as a command takes."""
    for begin in range(0, len(words), _LISTED):
        yield words[begin : begin + _LISTED]
