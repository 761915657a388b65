"""What is said of a live system, and jobs on it: submitted, followed and asked by the live laws."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
import pluggy
from attrs import evolve, field, frozen

from corral.batch.runner import Runner, command_environment
from corral.errors import CommandNotFound, CommandTimedOut
from corral.plugin.values import Command, Completed, Conversation, Job, JobId, JobStatus, Resources, Script
from corral.testing import agent
from corral.testing.driving import Answer, converse

T = TypeVar("T")

#: What a status may tell beside the state.
TOLD = ("hosts", "exit_code", "signal", "submitted", "started", "ends")


def _names(values: Collection[str]) -> frozenset[str]:
    told = frozenset(values)
    if more := told - frozenset(TOLD):
        raise ValueError(f"{sorted(more)}: a status tells {', '.join(TOLD)}")
    return told


@frozen(kw_only=True)
class Live:
    """What a backend says of the real batch system on which the live laws run. ::

        live = Live(
            job=Job(queue="debug", account="physics", resources=Resources(memory=2**28)),
            held=["--hold"],
            cannot={"too_long": "it looks for jobs that are too long every ten minutes"},
        )

    All of it has a default.
    """

    #: What every job asks for, beside what the laws say: queue, account, memory, directives.
    job: Job = Job()
    #: What the one job asks for that is no element of an array: more than the others, where there is more, so that the
    #: laws look at several hosts, cores, memory and GPUs. None: no more than the others.
    wide: Resources | None = None
    #: Options of the backend there; None: those of the class.
    options: Mapping[str, Any] | None = None
    #: Seconds that a job may take from one state to the next.
    patience: float = 60.0
    #: The shortest walltime that is kept (s), and how much later it is noticed.
    walltime: int = 1
    lateness: float = 30.0
    #: What a job asks for that is refused at once.
    refused: Mapping[str, Any] = field(factory=lambda: {"queue": "corral-no-such-queue"})
    #: Directives with which a job waits for good. Without any, the law of many waiting jobs is skipped.
    held: Sequence[str] = ()
    #: How many of those are submitted.
    many: int = 200
    #: What it tells of a job that has run, beside its state: of hosts, exit_code, signal, submitted, started and ends.
    tells: frozenset[str] = field(default=(), converter=_names)
    #: Ended jobs are listed no longer: how they ended is known from the files alone that their scripts write.
    forgets: bool = False
    #: Laws that this system cannot keep (their names, without ``test_live_``), and why: they are skipped.
    cannot: Mapping[str, str] = field(factory=dict)
    #: A folder that this host and the nodes share; None: the user's state directory.
    folder: str | None = None


class Agent:
    """One job of ours that runs, as seen from inside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        hello = json.loads((folder / "hello").read_text())
        self.environ: dict[str, str] = hello["environ"]
        self.arguments: list[str] = hello["argv"]
        self.host: str = hello["host"]
        self.starting_folder: str = hello["folder"]
        self._asked = 0

    @property
    def job_id(self) -> str:
        return self.environ.get("CORRAL_JOB_ID", "")

    def converse(self, conversation: Conversation[T]) -> T:
        """Drive a conversation whose commands run in the job, as the core's launcher runs them."""
        return converse(conversation, lambda each: self.run(each, command_environment(self.environ, each)))

    def run(self, command: Command, environ: Mapping[str, str] | None = None) -> Answer:
        timeout = 60.0 if command.timeout is None else command.timeout
        asked = {
            "argv": command.argv,
            "stdin": command.stdin,
            "environ": None if environ is None else dict(environ),
            "cwd": command.cwd,
            "timeout": timeout,
        }
        path = self._ask(asked)
        answer: dict[str, Any] = until(
            lambda: json.loads(path.read_text()) if path.exists() else {},
            timeout + 10,
            lambda: f"job {self.job_id} is silent: it was to run {shlex.join(command.argv)}",
        )
        if "is_missing" in answer:
            return CommandNotFound(command)
        return CommandTimedOut(command, timeout) if "is_late" in answer else Completed(argv=command.argv, **answer)

    def end(self, **how: int) -> None:
        """By ``exit=CODE``, or by ``signal=NUMBER`` to its script."""
        self._ask(dict(how))

    def _ask(self, what: dict[str, Any]) -> Path:
        ask = self.folder / f"ask-{self._asked}"
        new = ask.with_suffix(".new")
        new.write_text(json.dumps(what))
        new.rename(ask)
        self._asked += 1
        return self.folder / ask.name.replace("ask", "answer")


@frozen(kw_only=True)
class Batch:
    """Jobs of one submission."""

    job: Job
    script: Script
    ids: Sequence[JobId]


class LiveJobs:
    """Jobs of one test class, which end with it.

    Parameters
    ----------
    manager
        Makes the plugins, given the folder that is shared with the nodes.
    """

    def __init__(self, live: Live, manager: Callable[[Path], pluggy.PluginManager]) -> None:
        self.live = live
        top = Path(live.folder) if live.folder else platformdirs.user_state_path()
        top.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="corral-live-", dir=top))
        self.hook = manager(self.folder).hook
        # Unique, and none is the beginning of another cluster's.
        self.token = f"live{uuid.uuid4().hex[:8]}"
        self.batches: dict[str, Batch] = {}
        #: All states in which each job was seen; None: it was not listed.
        self.seen: dict[JobId, list[JobStatus | None]] = {}
        shutil.copy(agent.__file__, self.folder / "agent.py")
        self.logs = self.folder / "logs"
        self.logs.mkdir()

    # --- hooks --------------------------------------------------------------------------------------------------

    def talk(self, conversation: Conversation[T]) -> T:
        """Drive a conversation as the core does."""
        return asyncio.run(Runner().converse(conversation))

    def job(self, role: str, name: str, *words: str, **changes: Any) -> Job:
        """A job that runs the agent; its name begins as that of all jobs of this class does."""
        return evolve(
            self.live.job,
            name=f"{self.token}{name}",
            command=(sys.executable, "-I", "-S", str(self.folder / "agent.py"), str(self.folder), role, *words),
            own_directory=str(self.folder),
            **{"walltime": self.live.job.walltime or 300, "log_directory": str(self.logs), **changes},
        )

    def submit(self, role: str, job: Job, count: int = 1) -> Batch:
        script: Script = self.hook.render_script(job=self.hook.prepare_job(job=job))
        ids: list[JobId] = []
        while len(ids) < count:
            more = self.talk(self.hook.submit(script=script, count=count - len(ids)))
            assert more, "submit returned no id"
            ids += more
            self.batches[role] = Batch(job=job, script=script, ids=ids)
        assert len(ids) == count, f"submit returned {len(ids)} ids for {count} jobs: {_texts(ids)}"
        assert len(set(ids)) == count, f"two jobs have one id: {_texts(ids)}"
        return self.batches[role]

    def poll(self, job_ids: Sequence[JobId]) -> dict[JobId, JobStatus]:
        found: dict[JobId, JobStatus] = self.talk(self.hook.poll_status(job_ids=list(job_ids)))
        for job_id in job_ids:
            self.seen.setdefault(job_id, []).append(found.get(job_id))
        return found

    def until(
        self, job_ids: Sequence[JobId], is_enough: Callable[[JobStatus | None], bool], what: str, patience: float = 0.0
    ) -> dict[JobId, JobStatus]:
        """Poll until this is so for all of them."""
        found: dict[JobId, JobStatus] = {}

        def are_so() -> bool:
            found.clear()
            found.update(self.poll(job_ids))
            return all(is_enough(found.get(job_id)) for job_id in job_ids)

        until(are_so, patience or self.live.patience, lambda: f"{what}: {self.shown(job_ids, found)}", most=2.0)
        return dict(found)

    def until_ended(self, job_ids: Sequence[JobId], what: str, patience: float = 0.0) -> dict[JobId, JobStatus]:
        return self.until(
            job_ids, lambda each: self.live.forgets if each is None else each.state.is_final, what, patience
        )

    # --- inside -------------------------------------------------------------------------------------------------

    def agents(self, role: str) -> dict[str, Agent]:
        """Those that have started, by the id that they see."""
        folders = sorted(self.folder.glob(f"{role}-*/hello"), key=lambda path: path.stat().st_mtime)
        return {each.job_id: each for each in (Agent(path.parent) for path in folders)}

    def until_started(self, role: str) -> list[Agent]:
        """Wait until all jobs of a submission run; they are in the order of their ids."""
        batch = self.batches[role]

        def started() -> bool:
            self.poll(batch.ids)
            return len(self.agents(role)) >= len(batch.ids)

        until(
            started,
            self.live.patience,
            lambda: (
                f"not all jobs have started: {self.shown(batch.ids)}; those that have call themselves "
                f"{', '.join(sorted(self.agents(role))) or 'nothing'}"
            ),
            most=2.0,
        )
        agents = self.agents(role)
        others = sorted(agents.keys() - {job_id.text for job_id in batch.ids})
        assert not others, (
            f"submit returned {_texts(batch.ids)}, and a job calls itself {others[0]!r}: the CORRAL_JOB_ID of "
            "render_script is to be the id that submit returns"
        )
        return [agents[job_id.text] for job_id in batch.ids]

    def log(self, batch: Batch, job_id: JobId) -> Path:
        assert batch.script.log is not None, "Script.log is None although the job has a folder for its log"
        return Path(batch.script.log.replace("{id}", job_id.text))

    def await_lines(self, log: Path, lines: Sequence[str]) -> None:
        """Wait until all of these are in a log, which may come when its job has ended."""

        def missing() -> list[str]:
            printed = log.read_text(errors="replace").splitlines() if log.exists() else []
            return [line for line in lines if line not in printed]

        until(
            lambda: not missing(),
            self.live.patience,
            lambda: f"{log} {'is there without' if log.exists() else 'is not there; it should have'} {missing()}",
        )

    def noted_code(self, batch: Batch, job_id: JobId) -> int:
        """The exit code that a job's script has written down."""
        path = Path(f"{batch.job.log_directory}/{job_id}.exit")
        text = until(
            lambda: path.exists() and path.read_text().strip(), self.live.patience, lambda: f"there is no {path}"
        )
        return int(text)

    def shown(self, job_ids: Sequence[JobId], found: Mapping[JobId, JobStatus] | None = None) -> str:
        """What was said last of jobs, and the end of their logs, for an error."""
        lines = []
        for job_id in job_ids[:10]:
            last = (self.seen.get(job_id) or [None])[-1] if found is None else found.get(job_id)
            words = "not listed" if last is None else f"{last.state.name} ({last.native}) {last.reason}".rstrip()
            lines.append(f"{job_id} is {words}")
            for batch in self.batches.values():
                if job_id in batch.ids and batch.script.log is not None:
                    path = self.log(batch, job_id)
                    end = path.read_text(errors="replace")[-300:].strip() if path.exists() else ""
                    lines.extend([f"its log ends with: {end}"] if end else [])
        return "; ".join(lines)

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel what has not ended, and remove the folder."""
        (self.folder / "end").touch()
        try:
            left = [
                job_id
                for batch in self.batches.values()
                for job_id in batch.ids
                if (last := (self.seen.get(job_id) or [None])[-1]) is None or not last.state.is_final
            ]
            if left:
                self.talk(self.hook.cancel(job_ids=left))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def until(look: Callable[[], T], patience: float, failing: Callable[[], str], most: float = 0.1) -> T:
    """What `look` returns as soon as that is something; between two looks is a while that grows to `most` seconds."""
    deadline, pause = time.monotonic() + patience, 0.05
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {patience:g} s, {failing()}")
        time.sleep(pause)
        pause = min(most, pause * 1.5)
    return seen


def _texts(job_ids: Sequence[JobId]) -> str:
    return ", ".join(job_id.text for job_id in job_ids)
