"""Grid Engine and its children, in the order in which a job meets it: its directives, the commands about it, its life
inside.

Every job is a task of an array, so that one ``qsub`` starts a thousand and each is named by what it sees itself:
``$JOB_ID.$SGE_TASK_ID``. Where arrays are refused each is a submission of its own, ``$JOB_ID``.
"""

from __future__ import annotations

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
    arrayed_or_alone,
    hookimpl,
    job_body,
    visible_gpus,
)
from corral.plugin.parsing import hours_and_time, is_called
from corral_sge import answers, directives

__all__ = ["GridEngine"]

#: The argument that an error about an option names.
_ARGUMENTS = {"N": "name", "q": "queue", "P": "account", "o": "log_directory", "S": "shebang"}

#: What a site names by itself: the argument that needs it, the backend's option, and an example.
_SITES_OWN = {
    "memory": ("memory_resource", "h_vmem"),
    "cores": ("parallel_environment", "smp"),
    "nodes": ("multi_node_environment", "mpi-{cores}"),
    "gpus": ("gpu_resource", "gpu"),
}

#: Grid Engine's own resources of memory: whoever asks for one in a directive has asked for memory.
_MEMORY = frozenset({"h_vmem", "s_vmem", "mem_free", "virtual_free", "h_rss", "s_rss", "h_data", "s_data", "mem_total"})

#: Options that a site or a user may have in a sge_request file, and that would change what a submission is. Without
#: -C '' qsub would read all lines of the script that begin with #$, a user's own text among them.
_PLAIN = ("-terse", "-b", "n", "-sync", "n", "-C", "")

#: A sge_request file may say -V: then the job gets all that qsub sees.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "SGE_*", "KRB5CCNAME")

_ELEMENT_ID = "${JOB_ID}.${SGE_TASK_ID}"
_SINGLE_ID = "${JOB_ID}"

#: Ranges of tasks in one command.
_LISTED = 2000
#: Arrays and other jobs whose ends are asked for in one round; each takes a command, which reads all of a large file.
_ACCOUNTED = 20
#: Seconds: what qstat said must not wait for a large accounting file.
_ACCOUNTING_PATIENCE = 15.0


@frozen(kw_only=True)
class GridEngine:
    """The backend ``sge``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="Grid Engine",
        url="https://github.com/daimh/sge",
        tried="Son of Grid Engine 8.1.9",
        commands=("qsub",),
        directives=(r"#\$\s+-",),
        array=r"-t\b",
        variables=("SGE_ROOT",),
        # SGE_ROOT and its like stay.
        enclosing=(
            "JOB_ID", "JOB_NAME", "JOB_SCRIPT", "NSLOTS", "NHOSTS", "PE_HOSTFILE", "SGE_ACCOUNT", "SGE_CWD_PATH",
            "SGE_JOB_SPOOL_DIR", "SGE_O_*", "SGE_STDERR_PATH", "SGE_STDIN_PATH", "SGE_STDOUT_PATH", "SGE_TASK_*",
        ),
        server=("SGE_*",),
        carried=("SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT"),
        no_options={"memory_option": "memory is counted by slot here, unless memory_per='job'"},
        job=("JOB_ID",),
    )  # fmt: skip

    memory_resource: Annotated[
        str | None,
        Option(
            "How memory is requested: `'h_vmem'`, or several: `'mem_free,h_vmem'`. `qconf -sc` lists them",
            example="h_vmem",
        ),
    ] = None
    memory_per: Annotated[str, Option("What that resource is counted by", choices=("slot", "job"))] = "slot"
    parallel_environment: Annotated[
        str | None,
        Option("The environment that gives several slots on one host. `qconf -spl` lists them", example="smp"),
    ] = None
    multi_node_environment: Annotated[
        str | None,
        Option(
            "The environment that gives a fixed number of slots on each of several hosts; `{cores}` stands for that"
            " number",
            example="mpi-{cores}",
        ),
    ] = None
    gpu_resource: Annotated[
        str | None, Option("How GPUs are requested, counted per job or per host", example="gpu")
    ] = None
    max_array_size: Annotated[
        int,
        Option(
            "The largest array of one submission (max_aj_tasks of `qconf -sconf`); corrected when Grid Engine "
            "refuses it",
            at_least=1,
        ),
    ] = 75_000
    arrays: Annotated[
        bool,
        Option(
            "`False` where the site refuses job arrays: each job is a submission of its own. Found out by itself "
            "where a refusal speaks of arrays"
        ),
    ] = True

    #: What this site has refused: it is not tried again.
    _lacks: set[str] = field(factory=set, init=False, repr=False, eq=False)

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        nodes, cores = _shape(job)
        by_hand = {directives.name_of(option) for line in job.extra_directives for option in directives.checked(line)}
        has_slots = "pe" in by_hand | job.skip
        wanted = {
            "memory": job.resources.memory is not None and not by_hand & _MEMORY,
            "cores": nodes == 1 and cores > 1 and not has_slots,
            "nodes": nodes > 1 and not has_slots,
            "gpus": job.resources.gpus > 0,
        }
        for argument, (option, example) in _SITES_OWN.items():
            if wanted[argument] and argument not in job.skip and getattr(self, option) is None:
                raise InvalidRequest(
                    argument,
                    f"each Grid Engine site has its own way to ask for {argument}: name it with backend_options="
                    f"{{'{option}': '{example}'}}, or leave it out with skip_directives=['{argument}']",
                )
        if job.name and not re.fullmatch(r"[A-Za-z_][\w.+-]*", job.name, re.ASCII):
            raise InvalidRequest("name", f"{job.name!r}: Grid Engine allows letters, digits and _ . + - in a name")
        if job.resources.memory is None:
            return job
        unit = self._share(cores) * directives.MEBI
        memory = -(-job.resources.memory // unit) * unit
        return evolve(job, resources=evolve(job.resources, memory=memory))

    @hookimpl
    def render_script(self, job: Job) -> Script:
        extras = [(directives.checked(extra), extra) for extra in job.extra_directives]
        replaced = {directives.name_of(option) for found, _ in extras for option in found}
        lines = [
            Directive(name=name, text=_line(directives.written(words, _ARGUMENTS.get(name, name))))
            for name, word, words in self._options(job)
            if not job.skip & {name, word} and name not in replaced
        ]
        has_log = job.log_directory is not None and any(line.name == "o" for line in lines)
        lines += [Directive(name=directives.name_of(found[0]), text=_line(extra)) for found, extra in extras]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=tuple(lines),
            # The runner's, should a sge_request file say -V.
            body="unset LC_ALL\n" + job_body(job, job_id=_ELEMENT_ID if self.arrays else _SINGLE_ID),
            log=f"{job.log_directory}/{{id}}.log" if has_log else None,
        )

    def _options(self, job: Job) -> Iterator[tuple[str, str, directives.Words]]:
        """What a job asks for: by what names each option is skipped, and its words."""
        nodes, cores = _shape(job)
        if job.name:
            yield "N", "", ("-N", job.name)
        if job.queue is not None:
            yield "q", "", ("-q", job.queue)
        if job.account is not None:
            yield "P", "", ("-P", job.account)
        if nodes > 1 and self.multi_node_environment is not None:
            environment = self.multi_node_environment.replace("{cores}", str(cores))
            yield "pe", "", ("-pe", environment, str(nodes * cores))
        elif cores > 1 and self.parallel_environment is not None:
            yield "pe", "", ("-pe", self.parallel_environment, str(cores))
        if job.walltime is not None:
            yield "h_rt", "walltime", ("-l", f"h_rt={hours_and_time(job.walltime)}")
        if job.resources.memory is not None:
            amount = -(-job.resources.memory // (self._share(cores) * directives.MEBI))
            for resource in self._memory_resources:
                yield resource, "memory", ("-l", f"{resource}={amount}M")
        if job.resources.gpus and self.gpu_resource is not None:
            yield self.gpu_resource, "gpus", ("-l", f"{self.gpu_resource}={job.resources.gpus}")
        if job.excluded_hosts:
            yield "hostname", "", ("-l", f"hostname=!({'|'.join(job.excluded_hosts)})")
        yield "o", "", ("-o", directives.log_path(job.log_directory, self._log_file))
        yield "j", "", ("-j", "y")
        # Grid Engine does not heed a script's first line, and csh is the shell of many a queue.
        interpreter = job.shebang.removeprefix("#!").split()[:1]
        yield "S", "", ("-S", *(interpreter if interpreter and not interpreter[0].endswith("/env") else ["/bin/bash"]))
        yield "r", "", ("-r", "n")  # corral replaces a lost job itself

    @property
    def _log_file(self) -> str:
        return directives.ELEMENT_LOG if self.arrays else directives.SINGLE_LOG

    @property
    def _memory_resources(self) -> list[str]:
        return self.memory_resource.split(",") if self.memory_resource else []

    def _share(self, cores: int) -> int:
        """Into how many equal parts a host's memory is asked for."""
        return cores if self.memory_per == "slot" else 1

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, said = directives.read(text)
        try:
            job = self._job(said)
            # What our own options would not say of this job stays the user's.
            ours = {words for _, _, words in self._options(job)}
            left = [words for words in said if words not in ours and not self._is_said(words, job)]
        except ValueError as error:
            raise ParseError(str(error), text) from error
        job = evolve(job, shebang=shebang or job.shebang)
        return evolve(job, extra_directives=[shlex.join(words) for words in left])

    def _job(self, said: Sequence[directives.Words]) -> Job:
        """The request that options make together.

        Raises
        ------
        ValueError
            They make none.
        """
        values = {directives.name_of(words): words[1:] for words in said}
        requests = {name: words[0].partition("=")[2] for name, words in values.items() if words and "=" in words[0]}
        one = {name: words[0] for name, words in values.items() if len(words) == 1}
        nodes, cores = self._slots(*values["pe"]) if len(values.get("pe", ())) == 2 else (1, 1)
        memory = next((directives.memory(requests[name]) for name in self._memory_resources if name in requests), None)
        gpus = requests.get(self.gpu_resource or "", "")
        return Job(
            name=one.get("N", ""),
            queue=one.get("q"),
            account=one.get("P"),
            resources=Resources(
                nodes=nodes,
                cores=cores,
                memory=memory and memory * self._share(cores),
                gpus=int(gpus) if gpus.isdecimal() else 0,
            ),
            walltime=directives.seconds(requests["h_rt"]) if "h_rt" in requests else None,
            log_directory=directives.log_directory(one.get("o", ""), self._log_file),
        )

    def _slots(self, environment: str, slots: str) -> tuple[int, int]:
        """Nodes, and cores of each, of ``-pe``."""
        if not slots.isdecimal() or int(slots) < 1:
            raise ValueError(f"-pe {environment} {slots} is not one number of slots")
        pattern = re.escape(self.multi_node_environment or "").replace(re.escape("{cores}"), r"(\d+)")
        match = re.fullmatch(pattern, environment)
        if match and match.groups() and (cores := int(match[1])) and int(slots) % cores == 0:
            return int(slots) // cores, cores
        return 1, int(slots)

    def _is_said(self, words: directives.Words, job: Job) -> bool:
        """Whether the job says by itself all that an option said."""
        match words:
            case ("-N" | "-q" | "-P" | "-t", _):
                return True
            case ("-l", request):
                name, has_value, value = request.partition("=")
                if not has_value:
                    # A resource that is asked for without an amount is the user's own business.
                    return False
                if name == "h_rt":
                    return job.walltime is not None
                if name in self._memory_resources:
                    return directives.memory(value) * self._share(job.resources.cores) == job.resources.memory
                return name == self.gpu_resource and value == str(job.resources.gpus)
        return False

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
        try:
            done = yield _qsub(script, size)
        except CommandFailed as error:
            limit = re.search(r"more than (\d+) tasks", error.completed.stderr)
            if limit is None or not 1 <= int(limit[1]) < size:
                raise
            size = int(limit[1])
            done = yield _qsub(script, size)
        match = re.fullmatch(r"(\d+)\.1-(\d+):1", done.last_line(), re.ASCII)
        if match is None or int(match[2]) != size:
            raise ParseError("qsub accepted the job and its answer has no id", done.stdout + done.stderr)
        return [JobId(f"{match[1]}.{task}") for task in range(1, size + 1)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = {job_id.text: job_id for job_id in job_ids}
        listed = yield from _jobs()
        found = {wanted[text]: row.status for row in listed for text in row.ids if text in wanted}
        in_error = dict.fromkeys(row.array for row in listed if row.is_in_error and wanted.keys() & row.ids)
        if in_error:
            for text, reason in (yield from _ask_errors(list(in_error))).items():
                if (job_id := wanted.get(text)) in found:
                    found[job_id] = evolve(found[job_id], reason=reason, hopeless=answers.IN_ERROR)
        # What has ended leaves qstat at once; what was deleted while it waited leaves no record either.
        forgotten = {text: job_id for text, job_id in wanted.items() if job_id not in found}
        return found | (yield from _ask_qacct(forgotten))

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        words = answers.folded(job_ids)
        for first in range(0, len(words), _LISTED):
            try:
                yield Command(["qdel", *words[first : first + _LISTED]])
            except CommandFailed as error:
                said = [*error.completed.lines(), *Completed(stdout=error.completed.stderr).lines()]
                # One task that is gone makes qdel fail, although it deletes all others.
                if not said or not all(re.search(_DONE_OR_GONE, line) for line in said):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        listed = yield from _jobs()
        return [JobId(text) for row in listed if is_called(row.name, name) for text in row.ids]

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        array, _, task = job_id.text.partition(".")
        try:
            done = yield Command(["qstat", "-j", array])
        except CommandFailed as error:
            if "do not exist" not in error.completed.stdout + error.completed.stderr:
                raise
            return ""
        if answers.is_running(done.stdout, task or "1"):
            return ""
        error_reason = answers.error_reasons(done.stdout).get(job_id.text)
        reasons = answers.scheduler_reasons(done.stdout) or answers.verdict_reasons((yield from _verify("p", array)))
        if error_reason is None and answers.may_be_impossible(reasons):
            # What is known already is worth telling, whatever becomes of this question.
            with suppress(CommandError):
                told = answers.verdict_reasons((yield from _verify("v", array)))
                if told and (yield from _is_sure(told, answers.requested(done.stdout))):
                    return answers.never_words(told, self._arguments_of_resources)
        return answers.pending_words(reasons, error_reason)

    @property
    def _arguments_of_resources(self) -> dict[str, str]:
        """The argument that asks for a resource."""
        found = dict.fromkeys(self._memory_resources, "memory=")
        return found | {self.gpu_resource or "": "gpus=", "h_rt": "walltime=", "s_rt": "walltime="}

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield Command(["qstat", "-u", _MYSELF, "-f", "-F", "h_rt,mem_total", "-xml"])
        return answers.queues(done.stdout)

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        try:
            done = yield Command(["qstat", "-help"])
        except CommandFailed:
            return None  # PBS and TORQUE know no -help
        # "SGE 8.1.9", "GE 6.2u5", "OGS/GE 2011.11p1", "UGE 8.6.18", "AGE 2023.1.1", "OCS 9.0.2"
        match = re.match(r"\s*\S*(?:GE|CS) (\d\S*)\s*\n", done.stdout)
        return Detected(version=match[1], evidence="qstat -help") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        job, task = environ.get("JOB_ID"), environ.get("SGE_TASK_ID")
        if job is None or task is None:
            return None
        here = environ.get("HOSTNAME", "localhost")
        slots = {here: int(environ["NSLOTS"])} if environ.get("NSLOTS", "").isdecimal() else {here: 1}
        if host_file := environ.get("PE_HOSTFILE"):
            done = yield Command(["cat", host_file])
            slots = _slots_of_hosts(done)
        hosts = sorted(slots, key=lambda host: host != here)
        granted = environ.get(f"SGE_HGR_{self.gpu_resource}", "").replace(",", " ").split()
        return Allocation(
            # Outside of an array it is "undefined".
            job_id=JobId(f"{job}.{task}" if task.isdecimal() else job),
            hosts=hosts,
            cores=slots[hosts[0]],
            gpus=visible_gpus(environ, of_node=granted),
            attempt=int(environ["RESTARTED"]) if environ.get("RESTARTED", "").isdecimal() else 0,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        # The first host is this one: a parallel environment may count the job's script as one of its tasks.
        elsewhere = (["qrsh", "-inherit", "-nostdin", "-noshell", host, *command] for host in allocation.hosts[1:])
        return [list(command), *elsewhere]


# --- the commands themselves ------------------------------------------------------------------------------------

#: qstat itself fills in the user's name: without it, some sites list everybody's jobs.
_MYSELF = "$user"
_DONE_OR_GONE = r"has (deleted|registered)|already in deletion|does not exist|comprises no tasks"


def _line(options: str) -> str:
    return f"{directives.PREFIX} {options}"


def _shape(job: Job) -> tuple[int, int]:
    """Nodes, and cores of each, less what is not to be asked for."""
    resources = job.resources
    return 1 if "nodes" in job.skip else resources.nodes, 1 if "cores" in job.skip else resources.cores


def _qsub(script: Script, size: int | None) -> Command:
    words = []
    for directive in script.directives:
        line = shlex.split(directive.text.removeprefix(directives.PREFIX))
        words += [*line, "-hard"] if "-soft" in line else line  # it holds to the end of a line
    tasks = [] if size is None else ["-t", f"1-{size}"]
    return Command(["qsub", *_PLAIN, *words, *tasks], stdin=str(script), inherit=_INHERITED)


def _alone(script: Script) -> Conversation[JobId]:
    """Submit a job that is no task of an array; the script may have been written for either."""

    def renamed(directive: Directive) -> Directive:
        is_ours = directive.name == "o" and script.log is not None
        text = directive.text.replace(directives.ELEMENT_LOG, directives.SINGLE_LOG) if is_ours else directive.text
        return evolve(directive, text=text)

    # The first: what a user wrote comes later.
    body = script.body.replace(_ELEMENT_ID, _SINGLE_ID, 1)
    done = yield _qsub(evolve(script, directives=[renamed(each) for each in script.directives], body=body), None)
    if not (number := done.last_line()).isdecimal():
        raise ParseError("qsub accepted the job and its answer has no id", done.stdout + done.stderr)
    return JobId(number)


def _jobs() -> Conversation[list[answers.Row]]:
    done = yield Command(["qstat", "-u", _MYSELF, "-s", "prs", "-xml"])
    return list(answers.rows(done.stdout))


def _verify(how: str, array: str) -> Conversation[str]:
    """Whether a job could run: ``p`` as things are, ``v`` in an empty cluster, whatever is disabled or down."""
    try:
        done = yield Command(["qalter", "-w", how, array])
    except CommandFailed as error:
        # It says no by an exit code.
        if "verification:" not in error.completed.stdout:
            raise
        done = error.completed
    return done.stdout


def _is_sure(told: Sequence[str], asked: Sequence[str]) -> Conversation[bool]:
    """Whether ``-w v`` may be believed: it knows no load values, so that to it a host has none of what they measure."""
    if any("unknown resource" in reason for reason in told):
        return False
    measured = [name for name in asked if name not in answers.LIMITS_OF_QUEUES]
    if not measured or not any("cannot run in PE" in reason for reason in told):
        return True
    # Of a parallel environment it says only how many slots are left, not why.
    done = yield Command(["qhost", "-F", ",".join(measured)])
    return answers.configured(done.stdout) >= set(measured)


def _ask_errors(arrays: Sequence[str]) -> Conversation[dict[str, str]]:
    try:
        done = yield Command(["qstat", "-j", ",".join(arrays)])
    except CommandError:
        return {}  # the state is known, and says enough
    return answers.error_reasons(done.stdout)


def _ask_qacct(wanted: Mapping[str, JobId]) -> Conversation[dict[JobId, JobStatus]]:
    """How jobs ended that qstat does not list: qacct can be asked for one array, or one other job, at a time."""
    tasks: dict[str, list[int]] = {}
    for text in wanted:
        array, _, task = text.partition(".")
        tasks.setdefault(array, []).extend([int(task)] if task.isdecimal() else [])
    found: dict[JobId, JobStatus] = {}
    for array, numbers in list(tasks.items())[:_ACCOUNTED]:
        which = ["-t", f"{min(numbers)}-{max(numbers)}"] if numbers else []
        question = ["qacct", "-j", array, *which]
        try:
            done = yield Command(question, timeout=_ACCOUNTING_PATIENCE)
            found |= answers.ends(done.stdout, wanted)
        except CommandFailed as error:
            if "not found" in error.completed.stderr:
                continue
            return found  # accounting is written late or away at many sites
        except (CommandError, ParseError):
            return found
    return found


def _slots_of_hosts(done: Completed) -> dict[str, int]:
    """Slots on each host of a parallel job: ``node01 2 all.q@node01 UNDEFINED``; a host has a line for each queue."""
    slots: dict[str, int] = {}
    for line in done.lines():
        host, number, *_ = [*line.split(), ""]
        if not number.isdecimal():
            raise ParseError("this is not a list of hosts", done.stdout)
        slots[host] = slots.get(host, 0) + int(number)
    if not slots:
        raise ParseError("no host is listed", done.stdout)
    return slots
