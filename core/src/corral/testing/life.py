"""A few jobs on a live system, from their submission to their end: lived once, and looked at by many laws."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import evolve, frozen

from corral.errors import InvalidRequest
from corral.plugin.values import Allocation, Command, Completed, Job, JobId, JobState, JobStatus
from corral.testing.live_jobs import Agent, Batch, LiveJobs

#: What a shell, a directive or a submit description could make something else of.
HOSTILE = "a'b\"c $HOME `id` $(id) $$(Name) ${x} %d %s \\ \t| * é\n#SBATCH --nosuch\n#$ -l nosuch=1\n "

#: Variables of whoever submits. No job gets them, nor LC_ALL=C, with which corral runs commands.
SECRETS = {"CORRAL_KIT_SECRET": "xyzzy", "PYTEST_CURRENT_TEST": "xyzzy"}

#: Roles, and how the names of their jobs end: each name is the beginning of the next one.
ONE, THREE, PAIR = "one", "three", "pair"
NAMES = {ONE: "-1", THREE: "-10", PAIR: "-100"}

#: Says what it was given, into a file of its own. The folder comes first.
_REPORT = """
import json, os, socket, sys, tempfile
handle, path = tempfile.mkstemp(prefix="launched-", suffix=".new", dir=sys.argv[1])
with os.fdopen(handle, "w") as file:
    json.dump({"host": socket.gethostname(), "words": sys.argv[2:]}, file)
os.rename(path, path.removesuffix(".new"))
"""


@frozen(kw_only=True)
class Cancelled:
    """What was seen after one of three had been cancelled."""

    job_id: JobId
    status: JobStatus | None
    neighbours: Mapping[JobId, JobStatus]
    #: Those that still did what they were asked.
    answering: Sequence[JobId]


class Life:
    """One job alone, an array of three, and an array of two that fail.

    What happens is a row of steps (`STEPS`). Each happens once, after those before it, whichever law asks first; what
    it found or raised is what every law that asks for it gets.
    """

    def __init__(self, jobs: LiveJobs, enclosing: Mapping[str, str], unknown: Callable[[JobId], JobId]) -> None:
        self.jobs = jobs
        #: What another job of this batch system has in its environment.
        self.enclosing = enclosing
        self._unknown = unknown
        self._done: dict[str, Any] = {}

    def reach(self, name: str) -> Any:
        """What a step found.

        Raises
        ------
        Exception
            Whatever that step raised.
        """
        for each in STEPS[: STEPS.index(name) + 1]:
            if each not in self._done:
                try:
                    self._done[each] = getattr(self, f"_{each}")()
                except Exception as error:
                    self._done[each] = error
        found = self._done[name]
        if isinstance(found, Exception):
            raise found
        return found

    def batch(self, role: str) -> Batch:
        if role not in self.jobs.batches:
            self.reach("submitted")
        return self.jobs.batches[role]

    def ids(self, *roles: str) -> list[JobId]:
        return [job_id for role in roles or NAMES for job_id in self.batch(role).ids]

    # --- steps ----------------------------------------------------------------------------------------------------

    def _submitted(self) -> None:
        jobs = self.jobs
        wide = jobs.live.wide or jobs.live.job.resources
        with _variables({**SECRETS, **self.enclosing}):
            jobs.submit(ONE, self._hostile(jobs.job(ONE, NAMES[ONE], HOSTILE, resources=wide)))
        jobs.submit(THREE, jobs.job(THREE, NAMES[THREE]), 3)
        jobs.submit(PAIR, jobs.job(PAIR, NAMES[PAIR]), 2)
        jobs.poll(self.ids())

    def _hostile(self, job: Job) -> Job:
        """In a folder with a blank in its name, if the batch system's plugin does not refuse that."""
        logs = self.jobs.folder / "two words"
        logs.mkdir()
        job = evolve(job, environment={**job.environment, "HOSTILE": HOSTILE}, directory=str(logs))
        blank = evolve(job, log_directory=str(logs))
        try:
            self.jobs.hook.prepare_job(job=blank)
        except InvalidRequest:
            return job
        return blank

    def _running(self) -> dict[str, list[Agent]]:
        """All of them run, and the batch system says so."""
        self.reach("submitted")
        agents = {role: self.jobs.until_started(role) for role in NAMES}
        self.jobs.until(self.ids(), _is_running, "jobs run, and are not said to")
        return agents

    def _found(self) -> dict[str, list[JobId]]:
        self.reach("running")
        names = {role: self.batch(role).script.name for role in NAMES}
        asked = [
            *names.values(),
            f"{self.jobs.token}-*",
            f"{names[THREE]}*",
            f"{self.jobs.token}-",
            f"{names[ONE].upper()}",
            f"{self.jobs.token}-1x*",
        ]
        return {name: self.jobs.talk(self.jobs.hook.find_jobs(name=name)) for name in asked}

    def _strangers(self) -> tuple[JobId, dict[JobId, JobStatus], dict[JobId, JobStatus]]:
        """An id that nobody knows: what is said of it alone, and of it and a job that runs."""
        self.reach("running")
        known = self.ids(ONE)[0]
        unknown = self._unknown(known)
        alone = self.jobs.talk(self.jobs.hook.poll_status(job_ids=[unknown]))
        assert unknown not in alone, f"there is a job {unknown}: say in `unknown_id` which one there is not"
        with_it = self.jobs.talk(self.jobs.hook.poll_status(job_ids=[unknown, known]))
        self.jobs.talk(self.jobs.hook.cancel(job_ids=[unknown]))
        return unknown, alone, with_it

    def _granted(self) -> dict[JobId, Allocation | None]:
        agents = self.reach("running")
        inside = [(self.ids(role)[0], agents[role][0]) for role in (ONE, THREE)]
        return {
            job_id: agent.converse(self.jobs.hook.read_allocation(environ=agent.environ)) for job_id, agent in inside
        }

    def _launched(self) -> list[Any]:
        """What each process was given that the launcher started, one on every host."""
        agent = self.reach("running")[ONE][0]
        allocation = self.reach("granted")[self.ids(ONE)[0]]
        command = [sys.executable, "-I", "-S", "-c", _REPORT, str(self.jobs.folder), "two words", "$HOME", HOSTILE]
        for argv in self.jobs.hook.launch_command(allocation=allocation, command=command):
            done = agent.run(Command(argv))
            assert isinstance(done, Completed), f"{shlex.join(argv)}: {done!r}"
            assert done.returncode == 0, f"{shlex.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}"
        paths = sorted(self.jobs.folder.glob("launched-*"))
        return [json.loads(path.read_text()) for path in paths if not path.suffix]

    def _cancelled(self) -> Cancelled:
        agents = self.reach("running")[THREE]
        first, middle, last = self.ids(THREE)
        self.jobs.talk(self.jobs.hook.cancel(job_ids=[middle]))
        ended = self.jobs.until_ended([middle], "cancelled, and not ended")
        self.jobs.talk(self.jobs.hook.cancel(job_ids=[middle]))
        # Once more, of a job that is gone: no error.
        self.jobs.talk(self.jobs.hook.cancel(job_ids=[middle]))
        neighbours = self.jobs.poll([first, last])
        asked = ((first, agents[0]), (last, agents[2]))
        answering = [job_id for job_id, agent in asked if _answers(agent, neighbours.get(job_id))]
        return Cancelled(job_id=middle, status=ended.get(middle), neighbours=neighbours, answering=answering)

    def _ended(self) -> dict[JobId, JobStatus]:
        """Each in its own way; see `ways`."""
        agents = self.reach("running")
        for role, index, how in _ENDS:
            agents[role][index].end(**how)
        return self.jobs.until_ended(list(self.ways()), "was told to end, and has not")

    def ways(self) -> dict[JobId, Mapping[str, int]]:
        return {self.ids(role)[index]: how for role, index, how in _ENDS}

    def _lost(self) -> list[JobId]:
        """What is found by its name after all have ended."""
        self.reach("ended")
        self.reach("cancelled")
        found: list[JobId] = self.jobs.talk(self.jobs.hook.find_jobs(name=f"{self.jobs.token}-*"))
        return found


STEPS = ["submitted", "running", "found", "strangers", "granted", "launched", "cancelled", "ended", "lost"]

#: 143 is how a shell that SIGTERM has ended would end, and yet no cancellation.
_ENDS: list[tuple[str, int, Mapping[str, int]]] = [
    (ONE, 0, {"exit": 0}),
    (THREE, 0, {"exit": 0}),
    (THREE, 2, {"exit": 143}),
    (PAIR, 0, {"exit": 3}),
    (PAIR, 1, {"signal": int(signal.SIGSEGV)}),
]


def _is_running(status: JobStatus | None) -> bool:
    return status is not None and status.state is JobState.RUNNING


def _answers(agent: Agent, status: JobStatus | None) -> bool:
    """Whether a job still does what it is asked; not asked if it is known to have ended."""
    if status is not None and status.state.is_final:
        return False
    return isinstance(agent.run(Command(["true"], timeout=5)), Completed)


@contextmanager
def _variables(more: Mapping[str, str]) -> Iterator[None]:
    """With these in the environment of this process."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
