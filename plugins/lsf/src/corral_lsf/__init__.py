"""LSF, in the order in which a job meets it: its directives, the commands about it, its life inside.

Every job is an element of an array: ``65.3`` is LSF's ``65[3]``, and what the job sees as ``$LSB_JOBID.$LSB_JOBINDEX``.
IBM's LSF and OpenLava differ in how they list jobs; what a site decides (units, launcher) is an option.
"""

from __future__ import annotations

import base64
import functools
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, ClassVar

from attrs import evolve, field, frozen

from corral.plugin import (
    Allocation,
    BackendFacts,
    Command,
    CommandError,
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
    Resources,
    Script,
    array_as_large_as_taken,
    arrayed_or_alone,
    hookimpl,
    job_body,
    parsing,
    visible_gpus,
)
from corral_lsf import answers, directives, site

__all__ = ["LSF"]

#: bsub passes its own environment on to the job, so it sees what a login sets, and what it needs to find its cluster.
#: BSUB_QUIET would keep the id from us.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "KRB5CCNAME",
    "LSF_ENVDIR", "LSF_SERVERDIR", "LSF_BINDIR", "LSF_LIBDIR", "XLSF_UIDDIR", "EGO_*",
)  # fmt: skip

#: Without a number of tries LSF's commands wait for a daemon that is away, or for room under a limit, without end.
_TRIES = {"LSB_NTRIES": "1", "LSB_DISPLAY_YEAR": "Y"}

_ELEMENT_ID = "$LSB_JOBID.$LSB_JOBINDEX"
_SINGLE_ID = "$LSB_JOBID"
#: Where the output of a job goes, in its script and as it is read back.
_REDIRECTION = '[ ! -d {log} ] || exec >>{log}/"{id}.log" 2>&1'
_REDIRECTED = re.compile(
    r'^\[ ! -d (.*?) \] \|\| exec >>\1/"\$LSB_JOBID(?:\.\$LSB_JOBINDEX)?\.log" 2>&1$', re.MULTILINE | re.DOTALL
)

#: Options that not every LSF has: of bsub, and of bjobs.
_GPU, _FORMAT = "gpu", "o"

#: Arrays named in one command; above it, bjobs is asked for all of the user's.
_LISTED = 1000


@frozen(kw_only=True)
class LSF:
    """The backend ``lsf``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="LSF",
        url="https://www.ibm.com/docs/en/spectrum-lsf",
        tried="OpenLava 4.0; IBM's LSF from its documentation alone",
        commands=("bsub",),
        directives=(r"[ \t]*#[ \t]*BSUB\b",),
        array=r"-J\s+\S*\[",
        variables=("LSF_ENVDIR",),
        files=("/etc/lsf.conf",),
        enclosing=("LSB_*",),
        server=("LSF_*",),
        carried=("LSF_ENVDIR", "LSF_BINDIR", "LSF_LIBDIR", "LSF_SERVERDIR"),
        no_options={"memory_option": "memory by core is memory_per_slot=True here"},
        job=("LSB_JOBID",),
        # Of jsrun.
        node=("JSM_NAMESPACE_RANK",),
    )

    max_array_size: Annotated[
        int, Option("The largest array of one submission; corrected from `bparams -l` when LSF refuses it", at_least=1)
    ] = 1000
    arrays: Annotated[
        bool,
        Option(
            "`False` where the site refuses job arrays: each job is a submission of its own. Found out by itself "
            "where a refusal speaks of arrays, or where MAX_JOB_ARRAY_SIZE is 0"
        ),
    ] = True
    memory_unit: Annotated[
        str | None,
        Option(
            "LSF_UNIT_FOR_LIMITS; without one, `-M` is in KB and `rusage[mem=]` in MB",
            choices=site.UNITS,
            default="as lsf.conf says",
        ),
    ] = field(factory=lambda: site.unit_for_limits(os.environ))
    memory_options: Annotated[
        Sequence[str],
        Option(
            'How memory is asked for: `limit` is `-M`, `reservation` is `-R "rusage[mem=]"`; either of them, both, '
            "or neither",
            choices=("limit", "reservation"),
            default="both",
        ),
    ] = ("limit", "reservation")
    memory_per_slot: Annotated[
        bool, Option("Reservations are counted by slot (RESOURCE_RESERVE_PER_TASK in lsb.params), not by host")
    ] = False
    gpu_resource: Annotated[
        str | None,
        Option(
            'A resource that represents GPUs: `-R "rusage[ngpus_excl_p=2]"` in place of `-gpu "num=2"`, which is '
            "refused on OpenLava and on LSF before 10.1: there `bsub` reads it as the name of a group of jobs, and "
            "OpenLava's batch daemon dies",
            example="ngpus_excl_p",
        ),
    ] = None
    nnodes: Annotated[bool, Option("Whole nodes with `-nnodes`, for sites where `-n` and `-R` are refused")] = False
    launcher: Annotated[str, Option("What reaches a job's other hosts", choices=("blaunch", "jsrun"))] = "blaunch"
    job_table: Annotated[
        str,
        Option(
            "How jobs are listed: `custom` is `bjobs -o`, `wide` is `bjobs -w`; `auto` tries the first, once: older "
            "versions and OpenLava refuse it",
            choices=("auto", "custom", "wide"),
        ),
    ] = "auto"

    #: What this site has refused: it is not tried again.
    _lacks: set[str] = field(factory=set, init=False, repr=False, eq=False)
    #: What it is known to have.
    _has: set[str] = field(factory=set, init=False, repr=False, eq=False)

    @property
    def _limit_unit(self) -> str:
        return (self.memory_unit or "KB")[0]

    @property
    def _reservation_unit(self) -> str:
        return (self.memory_unit or "MB")[0]

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        resources = job.resources
        if job.name and not re.fullmatch(r"[A-Za-z][\w.+-]*", job.name, re.ASCII):
            raise InvalidRequest(
                "name", f"{job.name!r} is not an array's job name: only letters, digits and _.+- are allowed"
            )
        if resources.memory is not None:
            if resources.memory < 1:
                raise InvalidRequest("memory", "0 means no limit to LSF; leave it out with Job.skip")
            # The coarsest unit in which it is written, for each slot if it is counted so.
            unit = parsing.size_in_bytes(f"1{self._reservation_unit}")
            unit *= resources.cores if self.memory_per_slot else 1
            resources = evolve(resources, memory=-(-resources.memory // unit) * unit)
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest("walltime", "LSF ends such a job at once; leave it out with Job.skip")
        walltime = None if job.walltime is None else -(-job.walltime // 60) * 60
        return evolve(job, resources=resources, walltime=walltime)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        replaced = {name for extra in job.extra_directives for name in directives.checked(extra)}
        job = evolve(job, extra_directives=self._with_one_requirement(job))
        lines = [
            Directive(name=name, text=f"{directives.PREFIX} -{name} {text}")
            for name, text in self._options(_without(job))
            if name not in job.skip and name not in replaced
        ]
        log = job.log_directory if any(line.name == "o" for line in lines) else None
        lines += [
            Directive(name=directives.options(extra)[0].name, text=f"{directives.PREFIX} {extra}")
            for extra in job.extra_directives
        ]
        # LSF would write a log when all is over, below a report and a copy of the script.
        shell_id = _ELEMENT_ID if self.arrays else _SINGLE_ID
        redirection = [] if log is None else [_REDIRECTION.format(log=shlex.quote(log), id=shell_id)]
        # bkill begins with SIGINT, and a job that ends well after it is DONE, as any other.
        body = job_body(job, job_id=shell_id, cancelled_by="SIGINT")
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=tuple(lines),
            body="\n".join([*redirection, "unset LC_ALL LSB_NTRIES LSB_DISPLAY_YEAR", body]),
            log=None if log is None else f"{log}/{{id}}.log",
        )

    def _with_one_requirement(self, job: Job) -> list[str]:
        """The user's directives; the last that has a requirement has ours and all of theirs as well."""
        ours = self._requirement(job)
        users = [
            option.value or ""
            for extra in job.extra_directives
            for option in directives.options(extra)
            if option.name == "R"
        ]
        if not users:
            return list(job.extra_directives)
        theirs = functools.reduce(directives.merged, users)
        requirement = directives.merged(ours, theirs)
        if requirement == theirs and len(users) == 1:
            return list(job.extra_directives)
        lines = []
        for extra in job.extra_directives:
            found = directives.options(extra)
            rest = [option.source for option in found if option.name != "R"]
            lines += [extra] if len(rest) == len(found) else rest
        return [*lines, f"-R {directives.quoted(requirement, 'extra_directives')}"]

    def _requirement(self, job: Job) -> str:
        """Our own, without its quotes; empty if it is skipped or there is none."""
        if "R" in job.skip:
            return ""
        return dict(self._options(_without(job))).get("R", "").strip('"')

    def _options(self, job: Job) -> Iterator[tuple[str, str]]:
        """What a job asks for, as the names and values of bsub's options."""
        resources = job.resources
        if job.name:
            yield "J", directives.quoted(job.name, "name")
        if job.queue is not None:
            yield "q", directives.quoted(job.queue, "queue")
        if job.account is not None:
            yield "P", directives.quoted(job.account, "account")
        if self.nnodes:
            yield "nnodes", str(resources.nodes)
        else:
            yield from self._slots(job)
        if job.walltime is not None:
            yield "W", str(-(-job.walltime // 60))
        # Without it LSF sends what a job printed by mail.
        yield "o", "/dev/null"

    def _slots(self, job: Job) -> Iterator[tuple[str, str]]:
        resources = job.resources
        slots = resources.nodes * resources.cores
        requirement = []
        if job.excluded_hosts:
            others = " && ".join(f"hname!='{host}'" for host in job.excluded_hosts)
            requirement.append(f"select[{others}]")
        if slots > 1:
            yield "n", str(slots)
            requirement.append("span[hosts=1]" if resources.nodes == 1 else f"span[ptile={resources.cores}]")
        rusage = []
        if resources.memory is not None and "limit" in self.memory_options:
            # Of the whole job, where LSF counts that (LSB_JOB_MEMLIMIT).
            yield "M", str(parsing.in_units(resources.memory * resources.nodes, self._limit_unit))
        if resources.memory is not None and "reservation" in self.memory_options:
            share = -(-resources.memory // resources.cores) if self.memory_per_slot else resources.memory
            rusage.append(f"mem={parsing.in_units(share, self._reservation_unit)}")
        if resources.gpus and self.gpu_resource is None:
            yield "gpu", f'"num={resources.gpus}"'
        elif resources.gpus:
            rusage.append(f"{self.gpu_resource}={resources.gpus}")
        if rusage:
            requirement.append(f"rusage[{','.join(rusage)}]")
        if requirement:
            yield "R", f'"{" ".join(requirement)}"'

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = directives.header(text)
        said, extras = directives.split(lines)
        try:
            if "nnodes" in said and not self.nnodes:
                raise ValueError(
                    "-nnodes asks for whole nodes, as LSF with CSM has them; say so with "
                    "backend_options={'nnodes': True, 'launcher': 'jsrun'}"
                )
            job = directives.job(
                said,
                limit_unit=self._limit_unit,
                reservation_unit=self._reservation_unit,
                per_slot=self.memory_per_slot,
            )
            if self.gpu_resource and (counted := re.search(rf"\b{self.gpu_resource}=(\d+)", said.get("R", ""))):
                job = evolve(job, resources=evolve(job.resources, gpus=int(counted[1])))
            extras += self._left(said, job)
        except ValueError as error:
            raise ParseError(str(error), text) from error
        log = _REDIRECTED.search(text)
        directory = "".join(shlex.split(log[1])) if log else None
        return evolve(job, extra_directives=extras, log_directory=directory, shebang=shebang or job.shebang)

    def _left(self, said: Mapping[str, str], job: Job) -> Iterator[str]:
        """Directives for what our own would not say of this job."""
        ours = {(name, value.strip('"')) for name, value in self._options(job)}
        mine = dict(ours).get("R", "")
        names = {name for name, _ in ours}
        # A limit that this site's jobs do not say otherwise stays a limit.
        for name in ("R", "gpu", "o", *(["M"] if "M" not in names else [])):
            for value in filter(None, said.get(name, "").split("\n")):
                if name == "R":
                    value = directives.remainder(value, mine)  # noqa: PLW2901 - less of the same
                if value and (name, value) not in ours:
                    yield f"-{name} {directives.quoted(value, 'extra_directives')}"

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        yield from self._refuse_gpu_option(script)
        array = self._array(script, min(count, self.max_array_size)) if self.arrays else None
        return (
            yield from arrayed_or_alone(
                array, lambda: _alone(script), count, classify=answers.failure, lacks=self._lacks
            )
        )

    def _refuse_gpu_option(self, script: Script) -> Conversation[None]:
        """A bsub that has no -gpu reads it as -g, a group of jobs; OpenLava's batch daemon dies of that."""
        if _GPU in self._has or not any(_GPU in directives.names(each.text) for each in script.directives):
            return
        name, version = answers.version((yield Command(["lsid"], env=_TRIES)).stdout) or ("", "")
        if "lava" in name.lower() or re.match(r"[1-9]\.", version):
            raise InvalidRequest(
                "gpus",
                f"{name} {version} has no -gpu, and reads it as the name of a group of jobs. Say which resource stands "
                "for GPUs here with backend_options={'gpu_resource': 'ngpus'}, or ask for none",
            )
        self._has.add(_GPU)

    def _array(self, script: Script, size: int) -> Conversation[list[JobId]]:
        done, size = yield from array_as_large_as_taken(
            lambda size: _bsub(script, f"[1-{size}]"), size, refused="Job array index too large", limit=_array_limit(),
            setting="MAX_JOB_ARRAY_SIZE=", least=1,
        )  # fmt: skip
        number = _number(done)
        return [JobId(f"{number}.{index}") for index in range(1, size + 1)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        arrays = answers.parents(job_ids)
        is_custom, table = yield from self._bjobs("-a", *(arrays if len(arrays) <= _LISTED else ()))
        wanted = {job_id.text: job_id for job_id in job_ids}
        found = {wanted[row.text]: row.status for row in table if row.text in wanted}
        # A wide table says nothing of the ends of jobs that ran.
        unclear = [job_id for job_id, status in found.items() if status.native == "EXIT" and status.hosts]
        if is_custom or not unclear:
            return found
        done = yield from _tolerant(Command(["bjobs", "-a", "-l", *answers.folded(unclear)], env=_TRIES))
        return answers.with_details(found, done.stdout)

    def _bjobs(self, *which: str) -> Conversation[tuple[bool, list[answers.Row]]]:
        """A table of jobs, and whether it says all."""
        if self.job_table != "wide" and _FORMAT not in self._lacks:
            custom = Command(["bjobs", "-noheader", "-o", answers.FORMAT, *which], env=_TRIES)
            try:
                done = yield from _tolerant(custom)
                return True, answers.rows(done.stdout)
            except CommandFailed as error:
                if self.job_table == "custom" or not re.search(answers.NO_FORMAT, error.completed.stderr, re.MULTILINE):
                    raise
                self._lacks.add(_FORMAT)
        done = yield from _tolerant(Command(["bjobs", "-w", *which], env=_TRIES))
        return False, answers.rows(done.stdout)

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        try:
            yield Command(["bkill", *answers.folded(job_ids)], env=_TRIES)
        except CommandFailed as error:
            # 255 if one of them is gone.
            if not _says_only(answers.GONE, error.completed):
                raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        # bjobs understands a star as it is meant here.
        _, table = yield from self._bjobs("-J", name)
        return [
            JobId(row.text)
            for row in table
            if parsing.is_called(row.name.partition("[")[0], name) and not row.status.state.is_final
        ]

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        which = answers.folded([job_id])
        done = yield from _tolerant(Command(["bjobs", "-p", *which], env=_TRIES))
        # The same is said of a load that passes and of a size that no host has.
        if answers.lacks_resources(done.stdout) and (words := (yield from self._beyond_all_hosts(which))):
            return f"{answers.NEVER}: {words}"
        return answers.pending_words(done.stdout)

    def _beyond_all_hosts(self, which: Sequence[str]) -> Conversation[str]:
        """Why a job asks for more than any host has; empty if it does not, or nothing more is known."""
        with suppress(CommandError):
            done = yield Command(["bjobs", "-l", *which], env=_TRIES)
            if asked := answers.asked_memory(done.stdout, self._reservation_unit):
                done = yield Command(["lshosts", "-w"], env=_TRIES)
                return answers.beyond_words(asked, answers.most_memory(done.stdout))
        return ""

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield Command(["bqueues", "-l"], env=_TRIES)
        return answers.queues(done.stdout)

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["lsid"], env=_TRIES)
        found = answers.version(done.stdout)
        return Detected(version=found[1], evidence=f"lsid: {found[0]}") if found else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if not (number := environ.get("LSB_JOBID")):
            return None
        counted = environ.get("LSB_MCPU_HOSTS", "").split()
        slots = dict(zip(counted[::2], counted[1::2], strict=False))
        names = list(slots) or environ.get("LSB_HOSTS", "").split()
        if not names:
            # A list that is too long for a variable is in a file alone, one line a slot.
            done = yield Command(["cat", environ.get("LSB_DJOB_HOSTFILE", "")])
            names = done.lines()
        hosts = tuple(dict.fromkeys(names))
        if not hosts:
            raise ParseError("LSF names no host of this job", str(dict(environ)))
        first = slots.get(hosts[0], str(names.count(hosts[0])))
        return Allocation(
            job_id=JobId(answers.job_id(number, environ.get("LSB_JOBINDEX", ""))),
            hosts=hosts,
            # With whole nodes, the slots of the first are those of the launch node.
            cores=int(first) if first.isdecimal() and not self.nnodes else None,
            gpus=visible_gpus(environ),
            # Started again after a host failed, under the same id.
            attempt=1 if environ.get("LSB_RESTART") == "Y" else 0,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        if self.launcher == "jsrun":
            # The script runs on a launch node, which is listed first and starts nothing.
            sets = max(1, len(allocation.hosts) - 1)
            shape = ["--rs_per_host=1", "--tasks_per_rs=1", "--cpu_per_rs=ALL_CPUS", "--gpu_per_rs=ALL_GPUS"]
            return [["jsrun", f"--nrs={sets}", *shape, "--bind=none", *command]]
        # As rsh does, blaunch may hand the words to a shell on the other side.
        return [["blaunch", host, shlex.join(command)] for host in allocation.hosts]


# --- the script and the commands themselves ---------------------------------------------------------------------


def _without(job: Job) -> Job:
    """The job without the fields that are to be left out."""
    plain = Resources()
    resources = {name: getattr(plain, name) for name in ("nodes", "cores", "memory", "gpus") if name in job.skip}
    walltime = None if "walltime" in job.skip else job.walltime
    return evolve(job, resources=evolve(job.resources, **resources), walltime=walltime)


def _bsub(script: Script, indices: str) -> Command:
    return Command(["bsub", "-J", f"{script.name}{indices}"], stdin=_stdin(script), env=_TRIES, inherit=_INHERITED)


def _array_limit() -> Conversation[int | None]:
    return answers.array_limit((yield Command(["bparams", "-l"], env=_TRIES)).stdout)


def _alone(script: Script) -> Conversation[JobId]:
    """Submit a job that is no element of an array; the script may have been written for either."""
    # The name of its log, if it has one, and its own id: both come before what a user wrote.
    body = script.body.replace(_ELEMENT_ID, _SINGLE_ID, 1 if script.log is None else 2)
    return JobId(_number((yield _bsub(evolve(script, body=body), ""))))


def _number(done: Completed) -> str:
    found = re.findall(r"^Job <(\d+)> is submitted to ", done.stdout, re.MULTILINE | re.ASCII)
    if not found:
        raise ParseError("bsub accepted the job and its answer has no id", done.stdout + done.stderr)
    return str(found[-1])


def _stdin(script: Script) -> str:
    """What bsub reads: it would take a line of the user's own data for an option, wherever it stands."""
    if not directives.has_directive(script.body):
        return str(script)
    body = base64.b64encode(script.body.encode()).decode()
    return str(evolve(script, body=f'eval "$(echo {body} | base64 -d)"\n'))


def _tolerant(command: Command) -> Conversation[Completed]:
    """The answer about those jobs that are known: the others make the command fail."""
    try:
        return (yield command)
    except CommandFailed as error:
        if not _says_only(answers.UNKNOWN, error.completed):
            raise
        return error.completed


def _says_only(words: str, completed: Completed) -> bool:
    complaints = Completed(stdout=completed.stderr).lines()
    return bool(complaints) and all(re.search(words, line) for line in complaints)
