"""Slurm, in the order in which a job meets it: its directives, the commands about it, its life inside.

Every job is an element of an array, so that one ``sbatch`` starts a thousand and each is named by what it sees
itself: ``${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}``. Where arrays are refused each is a submission of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
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
    JobState,
    JobStatus,
    Option,
    ParseError,
    Queue,
    RankVariables,
    Script,
    arrayed_or_alone,
    hookimpl,
    job_body,
    visible_gpus,
)
from corral.plugin.parsing import is_called
from corral_slurm import answers, directives, limits, submission
from corral_slurm.submission import at

__all__ = ["Slurm"]

#: `Job.skip` knows these directives by a word too.
_WORDS = {
    "nodes": "nodes",
    "no-kill": "nodes",
    "cpus-per-task": "cores",
    "mem": "memory",
    "mem-per-cpu": "memory",
    "gres": "gpus",
    "gpus-per-node": "gpus",
    "time": "walltime",
}

#: The argument that an error about a directive names.
_ARGUMENTS = {"job-name": "name", "partition": "queue", "account": "account", "output": "log_directory"}

_EXPORT_ALL = f"""\
# --export=ALL passes on what sbatch sees, and corral lets it see {", ".join(submission.LOGIN)}
# and how to reach Slurm, nothing else of your environment. If you submit this yourself, it passes on all of yours.
"""

#: All variables but SQUEUE_*, SCANCEL_*, SINFO_*, SACCT_*: those are filters of the user's, who would not see all
#: partitions, and corral would take what is not listed for lost.
_NO_FILTERS = ("[!S]*", "S[!QCIA]*")

#: Jobs named singly in one command: above it, squeue is asked for all of the user's, and sacct in several commands.
_LISTED = 1000
_ACCOUNTED = 5000


@frozen(kw_only=True)
class Slurm:
    """The backend ``slurm``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="Slurm",
        url="https://slurm.schedmd.com",
        tried="Slurm 22.05.8 and 24.11.5",
        commands=("sbatch",),
        directives=(r"#SBATCH\b",),
        array=r"(?:-a|--array)\b",
        variables=("SLURM_CONF",),
        files=("/etc/slurm", "/etc/slurm-llnl"),
        # Configuration stays: SLURM_CONF, SBATCH_*.
        enclosing=(
            "SLURM_ARRAY_*", "SLURM_CPUS_*", "SLURM_CPU_BIND*", "SLURM_DISTRIBUTION", "SLURM_EXPORT_ENV",
            "SLURM_GET_USER_ENV", "SLURM_GPUS*", "SLURM_GTIDS", "SLURM_HET_*", "SLURM_JOB*", "SLURM_LAUNCH_*",
            "SLURM_LOCALID", "SLURM_MEM_*", "SLURM_NNODES", "SLURM_NODEID", "SLURM_NODELIST", "SLURM_NODE_ALIASES",
            "SLURM_NPROCS", "SLURM_NTASKS*", "SLURM_OVERCOMMIT", "SLURM_PRIO_PROCESS", "SLURM_PROCID",
            "SLURM_RESTART_COUNT", "SLURM_STEP*", "SLURM_SUBMIT_*", "SLURM_TASK*", "SLURM_THREADS_PER_CORE",
            "SLURM_TOPOLOGY_ADDR*", "SLURM_TRES_*", "SLURMD_*",
        ),
        server=("SLURM_*",),
        carried=("SLURM_CONF",),
        job=("SLURM_JOB_ID",),
        ranks=RankVariables(
            rank="SLURM_PROCID",
            sizes=("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
            launch=("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
            # A batch script has SLURM_PROCID too, but no step.
            condition="SLURM_STEP_ID",
        ),
        node=("SLURM_NODEID",),
    )  # fmt: skip

    max_array_size: Annotated[
        int,
        Option(
            "The largest array of one submission; corrected from `scontrol show config` when Slurm refuses it",
            at_least=1,
        ),
    ] = 1001
    arrays: Annotated[
        bool,
        Option(
            "`False` where the site refuses job arrays: each job is a submission of its own. Found out by itself "
            "where a refusal speaks of arrays, or where MaxArraySize is 0 or 1"
        ),
    ] = True
    memory_option: Annotated[
        str,
        Option(
            "How memory is requested: `mem-per-cpu`, each core's share rounded up, where the site refuses `--mem`",
            choices=("mem", "mem-per-cpu"),
        ),
    ] = "mem"
    gpu_option: Annotated[
        str,
        Option(
            "How GPUs are requested: `--gres=gpu:N` works everywhere; `--gpus-per-node=N` needs select/cons_tres, "
            "and leaves `--gres` for other things",
            choices=("gres", "gpus-per-node"),
        ),
    ] = "gres"
    gpu_type: Annotated[str | None, Option("The type of GPUs in that request: `--gres=gpu:a100:4`", example="a100")] = (
        None
    )
    requeue: Annotated[
        bool, Option("Let Slurm restart a job itself that lost its node or was preempted; corral replaces it anyway")
    ] = False
    signal: Annotated[
        str | None,
        Option(
            "`--signal`: SIGTERM for the script when a preempted job's grace time begins, where SlurmctldParameters"
            " has preempt_send_user_signal; `@0`: at no other time. `None` for no warning"
        ),
    ] = "B:TERM@0"

    #: What this site's commands have refused: they are not asked so again.
    _lacks: set[str] = field(factory=set, init=False, repr=False, eq=False)
    #: Other clusters that jobs were submitted to, or should have been.
    _elsewhere: set[str] = field(factory=set, init=False, repr=False, eq=False)

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        if "cpus-per-task" in _skipped(job):
            # By this word, which may change what others ask for: a core's share of the memory.
            job = evolve(job, skip=job.skip | {"cores"})
        resources = job.resources
        if resources.memory is not None:
            if resources.memory < 1:
                raise InvalidRequest(
                    "memory", "0 means a whole node to Slurm; if you want that: extra directive --mem=0"
                )
            unit = self._shares(job) * directives.MEBI
            resources = evolve(resources, memory=-(-resources.memory // unit) * unit)
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest("walltime", "0 means no limit to Slurm; if you want that: extra directive --time=0")
        if "," in job.name:
            raise InvalidRequest("name", f"{job.name!r} has a comma, where squeue sees the end of a name")
        return evolve(job, resources=resources)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        extras = [(directives.checked(extra), extra) for extra in job.extra_directives]
        skipped = _skipped(job)
        replaced = {name for found, _ in extras for option in found for name in directives.replaced_by(option)}
        if job.resources.gpus and self.gpu_option in replaced and "gpus" not in replaced:
            raise InvalidRequest(
                "extra_directives",
                "--gres replaces the one for GPUs; add gpu:N to it, or set gpu_option='gpus-per-node'",
            )
        lines = [
            Directive(name=name, text=_line(directives.written(name, value, _ARGUMENTS.get(name, name))))
            for name, value in self._options(job)
            if not skipped & {name, _WORDS.get(name)} and name not in replaced
        ]
        has_log = job.log_directory is not None and any(line.name == "output" for line in lines)
        shell_id = submission.ELEMENT_ID if self.arrays else submission.SINGLE_ID
        comment = _EXPORT_ALL if any(line.name == "export" for line in lines) else ""
        lines += [Directive(name=found[0].name, text=_line(extra)) for found, extra in extras]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=tuple(lines),
            # The runner's locale and a token for the controller came along with sbatch: neither is the job's.
            body=comment + "unset LC_ALL SLURM_JWT\n" + job_body(job, job_id=shell_id),
            log=f"{job.log_directory}/{{id}}.log" if has_log else None,
        )

    def _options(self, job: Job) -> Iterator[tuple[str, str | None]]:
        """What a job asks for, as sbatch's options."""
        resources = job.resources
        if job.name:
            yield "job-name", job.name
        if job.queue is not None:
            yield "partition", job.queue
        if job.account is not None:
            yield "account", job.account
        yield "nodes", str(resources.nodes)
        if resources.nodes > 1:
            yield "no-kill", None  # a node that dies takes its own workers only
        yield "ntasks-per-node", "1"
        yield "cpus-per-task", str(resources.cores)
        if resources.memory is not None:
            share = -(-resources.memory // (self._shares(job) * directives.MEBI))
            yield self.memory_option, f"{share}M"
        if resources.gpus:
            kind = f"{self.gpu_type}:" if self.gpu_type else ""
            yield self.gpu_option, f"{'gpu:' if self.gpu_option == 'gres' else ''}{kind}{resources.gpus}"
        if job.walltime is not None:
            yield "time", directives.days_and_time(job.walltime)
        if job.excluded_hosts:
            yield "exclude", ",".join(job.excluded_hosts)
        if self.signal is not None:
            yield "signal", self.signal
        yield "output", directives.log_pattern(job.log_directory, self._log_file)
        # NONE makes each job wait for a login shell, a second or two; see _LOGIN for what ALL is.
        yield "export", "ALL"
        yield ("requeue" if self.requeue else "no-requeue"), None
        if self.requeue:
            yield "open-mode", "append"  # the log of the first attempt says why there is a second

    @property
    def _log_file(self) -> str:
        return directives.ELEMENT_LOG if self.arrays else directives.SINGLE_LOG

    def _shares(self, job: Job) -> int:
        """Into how many equal parts a node's memory is asked for: cores that are not asked for may be but one."""
        if self.memory_option == "mem" or "cores" in job.skip:
            return 1
        said, _ = directives.split(job.extra_directives)
        if (by_gpu := said.get("cpus-per-gpu") or "").isdecimal():
            return max(1, int(by_gpu) * job.resources.gpus)
        asked = said.get("cpus-per-task") or ""
        return int(asked) if asked.isdecimal() and int(asked) else job.resources.cores

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = directives.header(text)
        said, extras = directives.split(lines)
        try:
            job = directives.job(said, self._log_file)
            # What our own directives would not say of this job stays the user's.
            ours = set(self._options(job))
            left = [
                directives.written(*self._per_node(name, value, job))
                for name, value in said.items()
                if (name, value) not in ours and not directives.is_said(name, job, self.memory_option)
            ]
        except ValueError as error:
            raise ParseError(str(error), text) from error
        return evolve(job, extra_directives=(*extras, *left), shebang=shebang or job.shebang)

    def _per_node(self, name: str, value: str | None, job: Job) -> tuple[str, str | None]:
        """The option for a job that has one task on each node: GPUs are counted by node."""
        if name not in ("gpus-per-task", "gpus-per-socket") or value is None:
            return name, value
        kind = directives.kind_of_gpu(value)
        return "gpus-per-node", f"{kind}:{job.resources.gpus}" if kind else str(job.resources.gpus)

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        self._elsewhere.update(submission.clusters(script))
        array = submission.as_array(script, min(count, self.max_array_size)) if self.arrays else None
        ids = yield from arrayed_or_alone(
            array, lambda: submission.alone(script), count, classify=answers.failure, lacks=self._lacks
        )
        self._elsewhere.update(job_id.where for job_id in ids if job_id.where)
        return ids

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        self._elsewhere.update(job_id.where for job_id in job_ids if job_id.where)
        found: dict[JobId, JobStatus] = {}
        for where, ids in _by_cluster(job_ids):
            wanted = {job_id.text: job_id for job_id in ids}
            table = yield from _ask_squeue(self._lacks, where, wanted)
            found |= answers.statuses(table, wanted)
            # Another cluster of the federation runs these, and this one knows no more of them.
            revoked = {job_id for job_id in ids if job_id in found and found[job_id].native in answers.REVOKED}
            # A pending element that was cancelled leaves squeue at once; what ended long ago leaves it too.
            forgotten = {text: each for text, each in wanted.items() if each not in found or each in revoked}
            if forgotten:
                cancelled = answers.cancelled_arrays(table)
                known = ((job_id, cancelled.get(text.partition("_")[0])) for text, job_id in forgotten.items())
                found |= {job_id: status for job_id, status in known if status is not None}
                found |= yield from _ask_sacct(where, forgotten, revoked)
        return found

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for where, ids in _by_cluster(job_ids):
            try:
                yield _query("scancel", *at(where), *answers.folded(ids))
            except CommandFailed as error:
                complaints = Completed(stdout=error.completed.stderr).lines()
                if not complaints or not all(re.search(_ALREADY_GONE, line) for line in complaints):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        # squeue knows whole names only.
        which = [] if name.endswith("*") else ["-n", name]
        found: dict[str, JobId] = {}
        # What the configuration's own cluster calls a job comes first.
        for where in ("", *sorted(self._elsewhere)):
            done = yield from _squeue(self._lacks, "JobArrayID State Name", *at(where), "--me", *which)
            doubtful: dict[str, JobId] = {}
            for text, state, called in answers.names(done.stdout):
                if is_called(called, name) and not state.is_final and text not in found:
                    found[text] = JobId(text, where=where)
                    if state is JobState.UNKNOWN:
                        doubtful[text] = found[text]
            # REVOKED: another cluster of the federation runs it, or has run it; this one lists it all the same.
            told = (yield from _ask_sacct(where, doubtful, doubtful.values())) if doubtful else {}
            for job_id in (each for each, status in told.items() if status.state.is_final):
                del found[job_id.text]
        return list(found.values())

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        try:
            done = yield _ask_one(job_id, "State StartTime Reason Partition")
        except CommandFailed as error:
            if _UNKNOWN_ID not in error.completed.stderr:
                raise
            return ""
        state, start, reason = [*done.last_line().split("|", 2), "", "", ""][:3]
        if answers.job_state(state) is not JobState.PENDING:
            return ""
        reason, partitions = answers.of_partitions(reason)
        if words := (yield from _ask_limits(job_id, reason)):
            return f"{answers.NEVER}: {words} ({reason})"
        when = "" if start in ("", "N/A") else f"; Slurm expects to start it at {start.replace('T', ' ')}"
        return f"{answers.pending_words(reason, partitions)} ({reason}){when}"

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield _query("sinfo", "-h", "-e", "-o", answers.SINFO_FORMAT)
        queues = answers.queues(done.stdout)
        # Some sites keep this from users: then sinfo's word is all there is.
        with suppress(CommandError):
            done = yield _query("scontrol", "-o", "show", "partition")
            queues = [limits.narrowed(queue, done.stdout) for queue in queues]
        return queues

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["sbatch", "--version"])
        # "slurm 23.11.4", "slurm-wlm 22.05.8"; other systems have an sbatch of their own.
        match = re.search(r"\bslurm\S* (\d\S*)", done.stdout)
        return Detected(version=match[1], evidence="sbatch --version") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if "SLURM_JOB_ID" not in environ:
            return None
        array, index = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
        nodelist = environ["SLURM_JOB_NODELIST"]
        hosts = [nodelist]
        if "," in nodelist or "[" in nodelist:
            done = yield Command(["scontrol", "show", "hostnames", nodelist])
            hosts = done.lines()
            if not hosts or any(" " in host for host in hosts):
                raise ParseError("these are not names of hosts", done.stdout)
        here = environ.get("SLURMD_NODENAME")
        cores = answers.least_cpus(environ.get("SLURM_JOB_CPUS_PER_NODE", "")) or _number(environ, "SLURM_CPUS_ON_NODE")
        megabytes = _number(environ, "SLURM_MEM_PER_NODE")
        if not megabytes:  # 0: all of the node's, and Slurm does not say how much that is
            megabytes = (_number(environ, "SLURM_MEM_PER_CPU") or 0) * (cores or 0)
        return Allocation(
            job_id=JobId(f"{array}_{index}" if array and index else environ["SLURM_JOB_ID"]),
            hosts=sorted(hosts, key=lambda host: host != here),
            cores=cores,
            memory=megabytes * directives.MEBI or None,
            gpus=visible_gpus(environ, of_node=filter(None, environ.get("SLURM_JOB_GPUS", "").split(","))),
            ends=_number(environ, "SLURM_JOB_END_TIME"),
            attempt=_number(environ, "SLURM_RESTART_COUNT") or 0,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        nodes = len(allocation.hosts)
        cores = [] if allocation.cores is None else [f"--cpus-per-task={allocation.cores}"]
        return [
            [
                "srun",
                f"--nodes={nodes}",
                f"--ntasks={nodes}",
                "--ntasks-per-node=1",
                *cores,  # srun no longer takes it from the job, since 22.05
                "--export=ALL",
                # What ends on one node, ends there: not by an exit code, a dead node, or a site's WaitTime.
                "--kill-on-bad-exit=0",
                "--no-kill",
                "--wait=0",
                "--overlap",  # the user's own srun finds room
                "--mpi=none",
                *command,
            ]
        ]


# --- the commands themselves ------------------------------------------------------------------------------------

#: Lists of an array's elements in full, not cut to 64 characters.
_UNCUT = {"SLURM_BITSTR_LEN": "0"}
#: Seconds: what squeue said must not wait for a database.
_ACCOUNTING_PATIENCE = 15.0
_UNKNOWN_ID = "Invalid job id"
_ALREADY_GONE = rf"{_UNKNOWN_ID}|already completing or completed|already finished"


def _skipped(job: Job) -> frozenset[str]:
    return job.skip | {name for word in job.skip for name in directives.long_names(word)}


def _line(options: str) -> str:
    return f"{directives.PREFIX} {options}"


def _query(*argv: str) -> Command:
    return Command(argv, env=_UNCUT | {"SLURM_TIME_FORMAT": "%s"}, inherit=_NO_FILTERS)


def _columns(names: str) -> str:
    """Columns for ``squeue -O``, which cuts each to its width unless that is only a separator."""
    return ",".join(f"{name}:|" for name in names.split())


def _by_cluster(job_ids: Sequence[JobId]) -> Iterator[tuple[str, list[JobId]]]:
    for where, ids in groupby(sorted(job_ids, key=lambda job_id: job_id.where), key=lambda job_id: job_id.where):
        yield where, list(ids)


def _arrays(job_ids: Mapping[str, JobId]) -> list[str]:
    return list(dict.fromkeys(text.partition("_")[0] for text in job_ids))


def _squeue(lacks: set[str], columns: str, *which: str) -> Conversation[Completed]:
    """Ask in the words that this squeue knows; what it refuses is said in its older ones."""
    question = yield from _asked(lacks, columns, which)
    while True:
        try:
            done = yield _query(*question)
        except CommandFailed as error:
            refused = answers.refused_option(error.completed)
            if refused is None or refused in lacks:
                raise
        else:
            break
        lacks.add(refused)
        question = yield from _asked(lacks, columns, which)
    if answers.is_cut(done.stdout):  # a site that carries commands elsewhere lost SLURM_BITSTR_LEN
        done = yield _query(*question, "-r")
    return done


def _asked(lacks: set[str], columns: str, which: Sequence[str]) -> Conversation[list[str]]:
    words = ["-O", _columns(columns)] if "-O" not in lacks else ["-o", answers.older_columns(columns)]
    if "--me" in which and "--me" in lacks:
        done = yield Command(["id", "-un"])
        which = [word for each in which for word in (("-u", done.last_line()) if each == "--me" else (each,))]
    return ["squeue", "-a", "-h", "-t", "all", *words, *which]


def _ask_squeue(lacks: set[str], where: str, wanted: Mapping[str, JobId]) -> Conversation[str]:
    arrays = _arrays(wanted)
    which = ["-j", ",".join(arrays)] if len(arrays) <= _LISTED else ["--me"]
    try:
        done = yield from _squeue(lacks, answers.SQUEUE_COLUMNS, *at(where), *which)
    except CommandFailed as error:
        if _UNKNOWN_ID not in error.completed.stderr:
            raise
        done = error.completed
    return done.stdout


def _ask_sacct(
    where: str, wanted: Mapping[str, JobId], revoked: Collection[JobId]
) -> Conversation[dict[JobId, JobStatus]]:
    arrays = _arrays(wanted)
    columns = answers.SACCT_COLUMNS.replace(" ", ",")
    federation = ["--federation"] if revoked else []
    found: dict[JobId, JobStatus] = {}
    for first in range(0, len(arrays), _ACCOUNTED):
        which = ",".join(arrays[first : first + _ACCOUNTED])
        question = _query("sacct", *at(where), *federation, "-D", "-X", "-P", "-n", "-o", columns, "-j", which)
        try:
            # Accounting is optional, and may be away or slow: then nothing more is known.
            done = yield evolve(question, timeout=_ACCOUNTING_PATIENCE)
            rows = answers.statuses(done.stdout, wanted)
        except (CommandError, ParseError):
            return found
        # A job that squeue does not list has ended: PENDING here is what was once written down.
        found |= {job_id: status for job_id, status in rows.items() if status.state.is_final or job_id in revoked}
    return found


def _ask_one(job_id: JobId, columns: str) -> Command:
    argv = ["squeue", *at(job_id.where), "-a", "-h", "-j", job_id.text, "-O", _columns(columns)]
    return Command(argv, env={"SLURM_TIME_FORMAT": "standard"}, inherit=_NO_FILTERS)


def _ask_limits(job_id: JobId, reason: str) -> Conversation[str]:
    """Why a job asks for more than it will ever get, if a reason that may pass hides that; else empty."""
    limit = limits.Limit.of(reason)
    if limit is None and reason != "PartitionNodeLimit":
        return ""
    # Limits may be hidden from users (PrivateData): then nothing more is known.
    with suppress(CommandError):
        done = yield _ask_one(job_id, limits.COLUMNS)
        if (asked := limits.Asked.read(done.last_line())) is None:
            return ""
        partitions = yield _query("scontrol", *at(job_id.where), "-a", "-o", "show", "partition")
        if limit is None:
            return limits.beyond_partitions(asked, partitions.stdout)
        done = yield _query("scontrol", *at(job_id.where), "show", "assoc_mgr", "flags=assoc,qos")
        return limits.never_words(limit, asked, done.stdout, partitions.stdout)
    return ""


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None
