"""HTCondor, in the order in which a job meets it: its description, the commands about it, its life inside.

A submission is one cluster of jobs, each known as ``ClusterId.ProcId``: 69.0, 69.1 and so on. The job's script travels
in its arguments, so that no file has to outlive the submission. A job that HTCondor holds because it could not run, or
ran too long, has failed: it is reported at once, and HTCondor itself removes it (``periodic_remove``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    Resources,
    Script,
    hookimpl,
    job_body,
    visible_gpus,
)
from corral.plugin.parsing import in_units, is_called, size_in_bytes
from corral_htcondor import answers, description

__all__ = ["HTCondor"]

MEBI = 2**20

#: `Job.skip` knows these statements by a word too.
_WORDS = {
    "request_cpus": "cores",
    "request_memory": "memory",
    "request_gpus": "gpus",
    "allowed_job_duration": "walltime",
}

#: A job sees of the submitting environment what a login sets.
_LOGIN = "PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ"
_ENVIRONMENT = '"CORRAL_JOB_ID=$(ClusterId).$(ProcId)"'
_LOG_FILE = "/$(ClusterId).$(ProcId).log"

#: Held jobs stay for ever; those that a person holds may.
_REMOVED = " && ".join(["JobStatus == 5", *(f"HoldReasonCode =!= {code}" for code in answers.HELD_BY_PEOPLE)])

#: A job of these cannot be one machine's workers.
_OTHER_UNIVERSES = ("parallel", "mpi", "grid", "java", "vm", "scheduler", "local")

#: Seconds from the signal that ends a job to the one that kills it; workers hand over their results within 20.
_VACATES = 60

#: Ids in one command; a hundred kilobytes of arguments are no trouble.
_LISTED = 5000
#: Ended jobs that are looked through, the latest first: the history of a large site has millions.
_SCANNED = 50_000

_ATTRIBUTE = r"[A-Za-z_]\w*"


@frozen(kw_only=True)
class HTCondor:
    """The backend ``htcondor``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="HTCondor",
        no_queues="has no queues: it matches each job with any machine that has what the job asks for",
        url="https://htcondor.org",
        tried="HTCondor 23.9.6 and 25.14.1",
        commands=("condor_submit",),
        directives=(r"(?i:[ \t]*queue(?:[ \t]+\d+)?[ \t]*$)", r"(?i:[ \t]*universe[ \t]*=)"),
        array=r"queue[ \t]+(?:[2-9]|\d\d)",
        variables=("CONDOR_CONFIG",),
        files=("/etc/condor",),
        # Other names of this form are configuration.
        enclosing=("_CONDOR_Assigned*", "_CONDOR_JOB_*", "_CONDOR_MACHINE_AD", "_CONDOR_SCRATCH_DIR", "_CONDOR_SLOT"),
        server=("CONDOR_*", "_CONDOR_*"),
        no_options={
            "arrays": "HTCondor has no arrays, only jobs that are submitted together, which every schedd takes",
            "memory_option": "HTCondor counts memory by job: there is no other way to ask for it",
        },
        carried=("CONDOR_CONFIG",),
    )

    schedd: Annotated[str | None, Option("The schedd that takes the jobs (`-name`)", default="this host's")] = None
    pool: Annotated[
        str | None, Option("The central manager of the pool that has this schedd (`-pool`)", default="this host's")
    ] = None
    disk: Annotated[
        int | None,
        Option(
            "`request_disk`: a job's scratch space, for what workers spill",
            unit="bytes",
            default="as much as the memory",
            example="20GB",
        ),
    ] = None
    queue_attribute: Annotated[
        str | None,
        Option(
            "HTCondor has no queues; if jobs at your site name one in an attribute, the name of that attribute: "
            "with `'JobFlavour'`, `queue='longlunch'` becomes `+JobFlavour = \"longlunch\"`",
            pattern=_ATTRIBUTE,
            example="JobFlavour",
        ),
    ] = None
    walltime_attribute: Annotated[
        str | None,
        Option(
            "An attribute in which jobs at your site give their walltime in seconds; it is set in addition to "
            "`allowed_job_duration`",
            pattern=_ATTRIBUTE,
            example="MaxRuntime",
        ),
    ] = None

    # --- description --------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        resources = job.resources
        if resources.nodes > 1:
            raise InvalidRequest(
                "nodes", "a job of HTCondor's runs on one machine; ask for nodes=1, and for as many jobs as you like"
            )
        if job.queue is not None and self.queue_attribute is None:
            raise InvalidRequest(
                "queue",
                "HTCondor has no queues. If jobs at your site name one in an attribute, give its name with "
                "backend_options={'queue_attribute': 'JobFlavour'}; if not, leave queue out",
            )
        for argument, value in [("name", job.name), ("queue", job.queue), ("account", job.account)]:
            if value and not description.WORD.fullmatch(value):
                raise InvalidRequest(argument, f"{value!r} is not a word of letters, digits and ._@:+/-")
        if resources.memory is not None:
            if resources.memory < 1:
                raise InvalidRequest("memory", "a job needs some")
            resources = evolve(resources, memory=in_units(resources.memory, "M") * MEBI)
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest("walltime", "a job needs some")
        if not re.fullmatch(r"#!/\S+( .*\S)?", job.shebang):
            raise InvalidRequest("shebang", f"{job.shebang!r} does not begin with #! and a path")
        return evolve(job, resources=resources)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        extras = [(description.checked(extra), extra) for extra in job.extra_directives]
        replaced = {said.name for said, _ in extras}
        lines = [
            Directive(name=name, text=f"{name} = {value}")
            for name, value in self._statements(job)
            if not job.skip & {name, self._word(name)} and name not in replaced
        ]
        has_log = any(line.name == "output" for line in lines)
        lines += [Directive(name=said.name, text=extra) for said, extra in extras]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=lines,
            body=f"{description.BODY}\n{job_body(job, job_id='${CORRAL_JOB_ID}')}",
            log=f"{job.log_directory}/{{id}}.log" if has_log else None,
        )

    def _word(self, name: str) -> str | None:
        """The word of `Job.skip` that leaves a statement out, too."""
        if name == f"+{self.walltime_attribute}":
            return "walltime"
        if name == "request_disk" and self.disk is None:
            return "memory"
        return _WORDS.get(name)

    def _statements(self, job: Job) -> Iterator[tuple[str, str]]:
        """What a job asks for, as a description's keys and values."""
        resources = job.resources
        yield "universe", "vanilla"
        if job.name:
            yield "batch_name", job.name
            # What condor_q -nobatch shows instead of the arguments, which are kilobytes.
            yield "description", job.name
        if job.account is not None:
            yield "accounting_group", job.account
        if job.queue is not None:
            yield f"+{self.queue_attribute}", f'"{job.queue}"'
        yield "request_cpus", str(resources.cores)
        if resources.memory is not None:
            yield "request_memory", f"{in_units(resources.memory, 'M')}M"
        if (disk := resources.memory if self.disk is None else self.disk) is not None:
            yield "request_disk", f"{in_units(disk, 'M')}M"
        if resources.gpus:
            yield "request_gpus", str(resources.gpus)
        if job.walltime is not None:
            yield "allowed_job_duration", str(job.walltime)
            if self.walltime_attribute is not None:
                yield f"+{self.walltime_attribute}", str(job.walltime)
        # Also for a job that hears no signal: machines give theirs ten minutes.
        yield "job_max_vacate_time", str(_VACATES)
        if job.excluded_hosts:
            yield "requirements", " && ".join(f'TARGET.Machine != "{host}"' for host in job.excluded_hosts)
        if job.log_directory is not None:
            log = description.literal(job.log_directory + "/", "log_directory")[:-1] + _LOG_FILE
            yield "output", log
            yield "error", log
        # Only to machines that share this host's files: the interpreter, the credentials and the log are there.
        yield "should_transfer_files", "NO"
        # HTCondor renames a "core" that it finds there when the job ends, and where it hides the host's /tmp from
        # jobs it must not be below that. The script itself changes to the user's folder.
        if job.own_directory is not None:
            yield "initialdir", description.literal(job.own_directory, "shared_directory")
        yield "getenv", _LOGIN
        yield "environment", _ENVIRONMENT
        yield "periodic_remove", _REMOVED

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        try:
            said = description.statements(text)
            values = {each.name: each.value for each in said}
            job = self._job({name: description.expanded(value, values) for name, value in values.items()})
            ours = {name.lower(): value for name, value in self._statements(job)}
        except ValueError as error:
            raise ParseError(str(error), text) from error
        # What our own statements would not say of this job stays the user's.
        left = [each.source for each in said if not self._is_said(each, job) and ours.get(each.name) != each.value]
        shebang = text.partition("\n")[0] if text.startswith("#!") else job.shebang
        return evolve(job, extra_directives=left, shebang=shebang)

    def _job(self, said: Mapping[str, str]) -> Job:
        universe = said.get("universe", "vanilla").lower()
        if universe in _OTHER_UNIVERSES:
            raise ValueError(f"a job of the {universe} universe cannot be one machine's workers")
        if "machine_count" in said and said["machine_count"] != "1":
            raise ValueError("machine_count: a job that corral submits is on one machine")
        if said.get("environment", _ENVIRONMENT) != _ENVIRONMENT:
            raise ValueError("environment is corral's own; say the variables with env=")
        memory, walltime = said.get("request_memory"), said.get("allowed_job_duration")
        queue, account = said.get(f"+{self.queue_attribute}".lower()), said.get("accounting_group")
        if walltime is None:
            walltime = said.get(f"+{self.walltime_attribute}".lower())
        name = said.get("batch_name", "")
        log = said.get("output", "")
        return Job(
            name=name if description.WORD.fullmatch(name) else "",
            queue=None if queue is None else description.unquoted(queue),
            account=None if account is None else description.unquoted(account),
            resources=Resources(
                cores=description.whole("request_cpus", said.get("request_cpus", "1")),
                memory=None if memory is None else size_in_bytes(memory, unit="M"),
                gpus=description.whole("request_gpus", said.get("request_gpus", "0")),
            ),
            walltime=None if walltime is None else description.whole("allowed_job_duration", walltime),
            log_directory=description.unquoted(log.removesuffix(_LOG_FILE)) if log.endswith(_LOG_FILE) else None,
        )

    def _is_said(self, each: description.Statement, job: Job) -> bool:
        """Whether the job says by itself, or its script does, what a statement said."""
        if each.name == f"+{self.queue_attribute}".lower():
            return job.queue is not None
        if each.name == f"+{self.walltime_attribute}".lower():
            return job.walltime is not None
        return each.name in {"batch_name", "accounting_group", *_WORDS} or each.name in description.CARRIED

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        done = yield Command(self._at("condor_submit", "-terse", "-"), stdin=description.complete(script, count))
        # "69.0 - 69.49", whatever a wrapper printed before.
        match = re.fullmatch(r"(\d+)\.(\d+) - \1\.(\d+)", done.last_line(), re.ASCII)
        if match is None or not 0 <= int(match[3]) - int(match[2]) < count:
            raise ParseError("condor_submit accepted the jobs and its answer has no ids", done.stdout + done.stderr)
        return [JobId(f"{match[1]}.{proc}") for proc in range(int(match[2]), int(match[3]) + 1)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = {job_id.text: job_id for job_id in job_ids}
        found: dict[JobId, JobStatus] = {}
        for clusters in _batches(dict.fromkeys(text.partition(".")[0] for text in wanted)):
            done = yield self._question("condor_q", *clusters)
            queued = answers.jobs(done.stdout)
            found |= {job_id: answers.status(queued[text]) for text, job_id in wanted.items() if text in queued}
        # What has ended leaves the queue at once.
        for ids in _batches(text for text, job_id in wanted.items() if job_id not in found):
            done = yield from self._history(ids)
            ended = answers.jobs(done.stdout)
            found |= {
                wanted[text]: status
                for text in ids
                if text in ended and (status := answers.status(ended[text])).state.is_final
            }
        return found

    def _history(self, ids: Sequence[str]) -> Conversation[Completed]:
        # It ends when all are found: else it would read on to the beginning of all history.
        bounds = ["-limit", str(len(ids)), "-scanlimit", str(_SCANNED)]
        try:
            return (yield self._question("condor_history", *bounds, *ids))
        except CommandFailed as error:
            if not answers.has_no_history(error.completed):
                raise
            return Completed()

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for ids in _batches(map(str, job_ids)):
            try:
                yield Command(self._at("condor_rm", *ids))
            except CommandFailed as error:
                if not answers.is_gone(error.completed):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        whole = name.removesuffix("*")
        quoted = whole.replace("\\", "\\\\").replace('"', '\\"')
        its = f"substr(JobBatchName, 0, {len(whole.encode())})" if name.endswith("*") else "JobBatchName"
        # == would not tell upper from lower case.
        done = yield self._question("condor_q", "-constraint", f'{its} =?= "{quoted}"')
        return [
            JobId(text)
            for text, ad in answers.jobs(done.stdout).items()
            if is_called(str(ad.get("JobBatchName", "")), name) and _is_there(answers.status(ad))
        ]

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        done = yield Command(self._at("condor_q", "-better-analyze", job_id.text))
        return answers.pending_words(done.stdout)

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["condor_version"])
        match = re.search(r"\$CondorVersion: (\d\S*)", done.stdout)
        return Detected(version=match[1], evidence="condor_version") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    def _at(self, program: str, *words: str) -> list[str]:
        """A command for the schedd that has the jobs."""
        pool = [] if self.pool is None else ["-pool", self.pool]
        schedd = [] if self.schedd is None else ["-name", self.schedd]
        return [program, *pool, *schedd, *words]

    def _question(self, program: str, *words: str) -> Command:
        return Command(self._at(program, "-json", "-attributes", answers.ATTRIBUTES, *words))

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if "_CONDOR_JOB_AD" not in environ or "_CONDOR_MACHINE_AD" not in environ:
            return None
        done = yield Command(["cat", environ["_CONDOR_JOB_AD"], environ["_CONDOR_MACHINE_AD"]])
        ad = dict(re.findall(r"^(\w+) = (.*)$", done.stdout, re.MULTILINE))
        cluster, proc, host = _whole(ad, "ClusterId"), _whole(ad, "ProcId"), ad.get("Machine", "").strip('"')
        if cluster is None or proc is None or not host:
            raise ParseError("these are not the ClassAds of a job and its machine", done.stdout)
        begun, allowed = _whole(ad, "JobCurrentStartDate"), _whole(ad, "AllowedJobDuration")
        megabytes = _whole(ad, "Memory")
        return Allocation(
            job_id=JobId(f"{cluster}.{proc}"),
            hosts=[host],
            cores=_whole(ad, "Cpus"),
            memory=None if megabytes is None else megabytes * MEBI,
            gpus=visible_gpus(environ),
            ends=None if begun is None or allowed is None else begun + allowed,
            attempt=_whole(ad, "NumJobStarts") or 0,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        return [list(command)]  # a job has one machine, and is there


def _whole(ad: Mapping[str, str], name: str) -> int | None:
    text = ad.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() else None


def _is_there(status: JobStatus) -> bool:
    return status.is_ending or not status.state.is_final


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = list(texts)
    for first in range(0, len(rest), _LISTED):
        yield rest[first : first + _LISTED]
