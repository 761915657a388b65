"""The contract between the core, backend plugins and site plugins.

The life of a job: `prepare_job` completes the request, `render_script` writes it down, `submit` hands it to
the batch system (many at once), `poll_status` tracks all of them, `read_allocation` and `launch_command` serve the
launcher inside the job, `cancel` ends what is no longer wanted. `classify_failure` explains a command that failed.
`check_health` looks for what would keep jobs from working, before there are any.

Hooks never do I/O. A hook that must talk to the batch system is a *conversation*: a generator that yields
one `Command` after another, is sent a `Completed` for each, and returns its answer. ::

    class Slurm:
        @hookimpl
        def cancel(self, job_ids):
            yield Command(["scancel", *map(str, job_ids)])

A backend implements each hook once; the core has a default for `prepare_job`, `classify_failure`, `describe_queues`
and `explain_pending`. A site wraps what it must change (``@hookimpl(wrapper=True)``): the result of a pure hook with
:func:`attrs.evolve`, a conversation with :func:`corral.mapped`. Two hooks any number of plugins may answer, each for
itself: `job_state_changed` and `check_health`.

Nobody calls these functions: pluggy reads their names and arguments, `corral.plugin.validation` their types as well.
``raise NotImplementedError`` is what a type checker accepts in the place of a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pluggy

from corral.plugin.values import (
    Allocation,
    Completed,
    Conversation,
    Detected,
    Failure,
    Finding,
    Job,
    JobId,
    JobStatus,
    Queue,
    Script,
)

hookspec = pluggy.HookspecMarker("corral")
hookimpl = pluggy.HookimplMarker("corral")

#: The suffix of the entry-point groups; raised when a plugin written for the old contract would no longer work.
CONTRACT = "v1"


@hookspec(firstresult=True)
def prepare_job(job: Job) -> Job:
    """Complete a request: fill in what the batch system needs, refuse what it cannot do. Pure.

    A backend normalises here (a name that is too long, a walltime in whole minutes). A site sets what its users
    should not have to know: account, queue by memory, extra directives.

    Raises
    ------
    InvalidRequest
        The batch system cannot do this; names the argument and the cure.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def render_script(job: Job) -> Script:
    """Write a prepared request as a job script. Pure; the only place where the batch system's own options appear.

    Every directive has a name and is left out when `job.skip` has that name. :func:`corral.plugin.scripting.job_body`
    writes the body, given the shell expression for the job's id; it is the same for all backends.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def submit(script: Script, count: int) -> Conversation[list[JobId]]:
    """Submit one request for `count` jobs, each running `script`.

    Returns
    -------
    list[JobId]
        1 to `count` ids, one per job. Fewer if the batch system limits the size of an array: the core calls again for
        the rest. Each is the text that the job sees as ``CORRAL_JOB_ID``.

    Raises
    ------
    ParseError
        It was accepted, but the answer has no id.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def poll_status(job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
    """Ask once for the state of many jobs, in as few commands as the batch system allows.

    Parameters
    ----------
    job_ids
        Never empty; there may be ten thousand. Asking by array keeps the argument list short.

    Returns
    -------
    dict[JobId, JobStatus]
        One entry for each of them that the batch system lists. What it means if one is missing is the core's business.

    Raises
    ------
    ParseError
        The answer is not empty and has no recognisable row. Carries the whole answer.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def cancel(job_ids: Sequence[JobId]) -> Conversation[None]:
    """Ask for the end of many jobs, in as few commands as the batch system allows.

    Returning means asked, not done: the core repeats until `poll_status` shows the end. A job that is already gone is
    not an error.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def find_jobs(name: str) -> Conversation[list[JobId]]:
    """List the user's own jobs with this name that have not ended: after a submission that timed out, and to clean up.

    Parameters
    ----------
    name
        A full name or, if it ends in ``*``, a prefix of names. No job of corral's has a star in its name. Upper and
        lower case differ, even if the batch system ignores case: :func:`corral.plugin.parsing.is_called` does the
        comparison.

    Notes
    -----
    Where there are several clusters or servers, all are looked through to which jobs may have gone, and each id says in
    `JobId.where` which of them has it, as those of `submit` do: there it is polled and cancelled.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def parse_resources(text: str) -> Job:
    """Read a native request: a whole job script, its directives, or just the resource part of one. Pure.

    The inverse of `render_script` for name, resources (other than `processes`, which no batch system knows),
    walltime, queue, account, log directory and extra directives. Directives that it does not know become
    `extra_directives`. If a request leaves out what a directive of ours would say, and that means something other than
    1 or none (whole nodes, say), the job skips that directive.

    Raises
    ------
    ParseError
        The request cannot be expressed as a Job (a heterogeneous job, say).
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def read_allocation(environ: Mapping[str, str]) -> Conversation[Allocation | None]:
    """Inside a job: what was granted. None if this is not a job of this batch system.

    Parameters
    ----------
    environ
        The job's environment. A host file that it names is read by a Command (``cat``) too.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def launch_command(allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
    """Inside a job: the argument lists that start `command` once on every host of the allocation. Pure.

    One list if the batch system has a parallel launcher (``srun``), otherwise one per host (``pbs_tmrsh HOST``), in the
    order of the hosts. They are run from the first host, and end when the command has ended everywhere.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def classify_failure(completed: Completed) -> Failure | None:
    """Say what a failed command means. Pure.

    Hooks never retry; the core does, depending on this answer. None if the text is not known: the core then treats a
    failed submission as fatal and everything else as transient. The core's default always returns None.
    """


@hookspec(firstresult=True)
def describe_queues() -> Conversation[list[Queue]]:
    """List the queues with their limits and what is free. The core's default returns none.

    ``queue="auto"`` chooses among them. List those alone to which the user may submit, as far as the batch system says;
    None where it does not: what is not known keeps no job away. A site that knows better wraps this hook and returns a
    table of its own::

        @hookimpl(wrapper=True)
        def describe_queues(self):
            yield
            return answered([Queue(name="short", max_walltime=4 * 3600, cores=128), ...])
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def explain_pending(job_id: JobId) -> Conversation[str]:
    """Say in plain words why a job is waiting, and when it may start. Empty, the core's default: the polled reason.

    If the job will never start, the text begins with "it will never start", and names what to change: it is raised from
    `wait_for_workers`. What the poll already shows goes into `JobStatus.hopeless`.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def detect() -> Conversation[Detected | None]:
    """Say whether this batch system is here, and which version.

    Must distinguish it from its relatives: Grid Engine, PBS and TORQUE all have a `qsub`. CommandNotFound need not be
    caught: it means None.
    """
    raise NotImplementedError


@hookspec
def job_state_changed(job: JobId, before: JobStatus | None, after: JobStatus) -> None:
    """Called when a job's state has changed. Any plugin may listen; `before` is None for a job just submitted.

    Called on the event loop: return at once. An exception is logged with the plugin's name and goes no further.
    """


@hookspec
def check_health(job: Job) -> Conversation[list[Finding]]:
    """Look for what would keep a job like this from working well: for `corral doctor`. Any plugin may answer.

    What the core finds by itself need not be repeated: whether the batch system answers, how long that takes, which
    queues take the job. ::

        @hookimpl
        def check_health(self, job):
            done = yield Command(["mmlsquota", "--block-size", "auto", "scratch"])
            if "exceeded" not in done.stdout:
                return [Finding(subject="scratch quota", verdict=Verdict.GOOD, text="not used up")]
            return [Finding(subject="scratch quota", verdict=Verdict.WRONG, text="used up", cure="Remove some files")]

    A command that fails, and an exception, become a finding that names the plugin.

    Parameters
    ----------
    job
        The prepared request of one of the cluster's groups.
    """
    raise NotImplementedError
