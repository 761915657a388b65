"""Moab, which takes jobs in TORQUE's language and starts them through TORQUE or Slurm.

Jobs are elements of a Moab array, named as Moab names them: ``Moab.123[1]``. What a job sees of itself comes from two
sides: its name from Moab (``MOAB_JOBID``), its hosts from the resource manager below.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from attrs import evolve, frozen

from corral.plugin import (
    Allocation,
    BackendFacts,
    Command,
    CommandFailed,
    Completed,
    Conversation,
    Detected,
    Failure,
    Job,
    JobId,
    JobStatus,
    Option,
    ParseError,
    Queue,
    Script,
    arrayed_or_alone,
    hookimpl,
    job_body,
)
from corral_moab import answers
from corral_torque import Torque

__all__ = ["Moab"]

#: Ids in one command; the kernel's limit for arguments is not far.
_LISTED = 2500


#: How a job sees its own id. With or without its index in Moab's variable, it is there once.
_ELEMENT_ID = r"${MOAB_JOBID%%\[*}[${MOAB_JOBARRAYINDEX}]"
_SINGLE_ID = "${MOAB_JOBID}"


@frozen(kw_only=True)
class Moab(Torque):
    """The backend ``moab``; its attributes, and TORQUE's, are the backend's options."""

    facts: ClassVar[BackendFacts] = evolve(
        Torque.facts,
        title="Moab",
        tried="not run on a Moab: written from the documentation of Moab 9.1",
        commands=("msub",),
        directives=(r"#MSUB\b",),
        array=r"-t\b",
        files=(),
        enclosing=(*Torque.facts.enclosing, "MOAB_JOB*"),
        server=(*Torque.facts.server, "MOAB*"),
        carried=(*Torque.facts.carried, "MOABHOMEDIR"),
        # Its jobs are those of what is below it, too.
        is_inner=True,
    )

    prefix: ClassVar[str] = "#MSUB"
    #: What a job prints before its script takes its output over: nobody knows Moab's id there.
    log_file: ClassVar[str] = "/moab.out"

    resource_manager: Annotated[
        str, Option("What Moab runs on; `slurm` needs `pip install corral-moab[slurm]`", choices=("torque", "slurm"))
    ] = "torque"
    max_array_size: Annotated[int, Option("The largest array of one submission", at_least=1)] = 1000
    arrays: Annotated[
        bool,
        Option(
            "`False` where moab.cfg has no ENABLEJOBARRAYS: each job is a submission of its own. Found out by "
            "itself where a refusal speaks of arrays"
        ),
    ] = True

    def _below(self) -> Any:
        """The plugin that knows what is below Moab."""
        if self.resource_manager == "slurm":
            from corral_slurm import Slurm

            return Slurm()
        return Torque()

    # --- directives ---------------------------------------------------------------------------------------------

    def _body(self, job: Job, has_log: bool) -> str:
        if has_log:
            log = f'exec >{shlex.quote(str(job.log_directory))}/"$CORRAL_JOB_ID.log" 2>&1'
            job = evolve(job, prologue=(log, *job.prologue))
        return job_body(job, job_id=_ELEMENT_ID if self.arrays else _SINGLE_ID)

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        # msub reads both.
        return super().parse_resources(re.sub(r"^#PBS\b", self.prefix, text, flags=re.MULTILINE))

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
        done = yield Command(["msub", "-E", "-t", f"{script.name or 'corral'}.[1-{size}]"], stdin=str(script))
        job_id = answers.job_id(done)
        return [JobId(f"{job_id}[{index}]") for index in range(1, size + 1)]

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        wanted = {job_id.text: job_id for job_id in job_ids}
        user = yield from _user()
        done = yield Command(["showq", *user, "--xml"])
        found = answers.statuses(done.stdout, wanted)
        if len(found) < len(wanted):
            done = yield Command(["showq", "-c", *user, "--xml"])
            found = answers.statuses(done.stdout, wanted) | found
        return found

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        for begin in range(0, len(job_ids), _LISTED):
            try:
                yield Command(["canceljob", *(job_id.text for job_id in job_ids[begin : begin + _LISTED])])
            except CommandFailed as error:
                complaints = answers.complaints(error.completed)
                if not complaints or not all(answers.GONE.search(line) for line in complaints):
                    raise

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        user = yield from _user()
        done = yield Command(["showq", *user, "--xml"])
        return answers.named(done.stdout, name)

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        try:
            done = yield Command(["checkjob", "-v", job_id.text])
        except CommandFailed as error:
            if not any(answers.GONE.search(line) for line in answers.complaints(error.completed)):
                raise
            return ""
        return answers.patience(done.stdout)

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        queues: list[Queue] = yield from self._below().describe_queues()
        return queues

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["msub", "--version"])
        match = re.search(r"moab.* version (\d\S*)", f"{done.stdout}\n{done.stderr}", re.IGNORECASE)
        return Detected(version=match[1], evidence="msub --version") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        if not (job_id := environ.get("MOAB_JOBID", "")):
            return None  # of what is below Moab alone, or of `msub` without -E
        allocation: Allocation | None = yield from self._below().read_allocation(environ)
        if allocation is None:
            return None
        index = environ.get("MOAB_JOBARRAYINDEX", "")
        return evolve(allocation, job_id=JobId(f"{job_id.partition('[')[0]}[{index}]" if index else job_id))

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        words: list[list[str]] = self._below().launch_command(allocation, command)
        return words


def _alone(script: Script) -> Conversation[JobId]:
    """Submit a job that is no element of an array; the script may have been written for either."""
    # The first: what a user wrote comes later.
    single = evolve(script, body=script.body.replace(_ELEMENT_ID, _SINGLE_ID, 1))
    # -E: Moab tells the job its id and its index.
    done = yield Command(["msub", "-E"], stdin=str(single))
    return JobId(answers.job_id(done))


def _user() -> Conversation[list[str]]:
    """The option of showq that lists the user's own jobs only."""
    done = yield Command(["id", "-un"])
    user = done.last_line()
    if user and not re.fullmatch(r"\S+", user):
        raise ParseError("this is not a user's name", done.stdout)
    return ["-u", user] if user else []
