"""A small life on a live batch system: one job and an array of three, from their submission to their end.

Nothing is cancelled but what a submission of this life returned and the batch system lists under its names, which no
other job has: the backend may be unfinished, and read somebody else's id from an answer. Jobs end by themselves, too.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from corral.batch.budget import Kind
from corral.batch.client import BatchSystem
from corral.errors import InvalidRequest, counted
from corral.plugin.validation import DEFAULTS
from corral.plugin.values import Completed, Job, JobId, JobState, JobStatus, Script
from corral.recording.inside import NAMES, STOP
from corral.recording.talk import Taken, held

#: Between two polls (s): the first come soon, as a job may wait for a moment only.
PAUSES = (0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0)
#: How long an end is waited for that was asked for (s).
END_PATIENCE = 90.0
#: What no batch system has.
NO_QUEUE = "corral-no-such-queue"
NO_MACHINE = 1_000_000
#: How long a job that runs may need to tell what it finds inside (s).
LISTENING = 30.0
#: Some jobs run, and no state has changed for so long (s): the others wait for room.
SETTLED = 15.0
#: How the single job ends, and the array.
EXIT_CODES = {1: 3, 3: 0}


@define(kw_only=True)
class Life:
    """One life. `taken` is what was said so far, also after an interruption."""

    batch: BatchSystem
    #: What each of its jobs asks for, prepared; its command runs a module, which is replaced.
    job: Job
    #: Its own, and the nodes see it.
    folder: Path
    #: How long it waits for jobs to start (s), and how long a job lives at most once it has started.
    patience: float
    tell: Callable[[str], None]
    #: Is told of hosts as they become known.
    meet: Callable[[Iterable[str]], None] = lambda _: None
    #: How the names of its jobs begin, and no other's.
    prefix: str = field(factory=lambda: f"dask-rec-{secrets.token_hex(3)}-")
    taken: list[Taken] = field(factory=list, init=False)
    #: Whether its folder is still of use: a job may be left that writes there, or its log says why it told nothing.
    folder_has_use: bool = field(default=False, init=False)
    #: What jobs told from inside, by their id.
    inside: dict[str, dict[str, Any]] = field(factory=dict, init=False)
    _ids: list[JobId] = field(factory=list, init=False)
    #: All that it ever submitted, and the names of submissions whose answer was not understood.
    _submitted: set[JobId] = field(factory=set, init=False)
    _unanswered: list[str] = field(factory=list, init=False)
    _states: dict[JobId, JobStatus] = field(factory=dict, init=False)
    #: Those that were listed under a name of this life: only they are cancelled.
    _ours: set[JobId] = field(factory=set, init=False)
    #: The last poll that worked showed their end, or no longer listed them.
    _ended: set[JobId] = field(factory=set, init=False)
    _finds_by_name: bool = field(default=False, init=False)

    async def live(self) -> None:
        """From the first question to the last."""
        await self._look_around()
        try:
            await self._refusals()
            single = await self._submit("submit", 1)
            array = await self._submit("submit-array", 3)
            await self._run(array)
            await self._end(single, array)
        finally:
            await self._leave()

    # --- its parts ----------------------------------------------------------------------------------------------

    async def _look_around(self) -> None:
        self.tell("who is there, and its queues")
        await self._ask("version", "detect")
        if self._has("describe_queues"):
            await self._ask("queues", "describe_queues")
        none = await self._ask("find-none", "find_jobs", name=f"{self.prefix}*")
        # A search that finds jobs where there are none yet may find anybody's.
        self._finds_by_name = none.is_good and none.result == []
        if not self._finds_by_name:
            self.tell("find_jobs does not work yet: no job will be cancelled, they end by themselves")

    async def _refusals(self) -> None:
        self.tell("a request that it refuses")
        resources = self.job.resources
        for title, asked in (
            ("refused-queue", evolve(self.job, queue=NO_QUEUE)),
            ("refused-cores", evolve(self.job, resources=evolve(resources, cores=NO_MACHINE))),
        ):
            try:
                named = evolve(asked, name=f"{self.prefix}0", command=["true"], log_directory=str(self.folder))
                script = self.batch.render(self.batch.prepare(named))
            except InvalidRequest:
                continue
            refused = await self._handed_over(title, script, 1, keep=False)
            if refused.answers and refused.answers[-1].returncode:
                self.taken.append(evolve(refused, result=self._classified(refused.answers[-1])))
                return
            if refused.error is None:
                self.tell(f"it takes {title.removeprefix('refused-')} that it has not: that job is cancelled")
                await self._cancel("cancel-taken", await self._recognize(), keep=False)
        self.tell("nothing was refused: record a refusal by hand, and declare it in `failures`")

    def _classified(self, answer: Completed) -> Any:
        try:
            return self.batch.manager.hook.classify_failure(completed=answer)
        except Exception as error:
            return repr(error)

    async def _submit(self, title: str, count: int) -> list[JobId]:
        name = f"{self.prefix}{1 if count == 1 else 2}"
        self.tell(f"submits {counted(count, 'job')} as {name}")
        command = (
            *self.job.command[:-1], "corral.recording.inside", self.batch.backend,
            json.dumps(dict(self.batch.options)), str(self.folder), f"{self.patience:g}", str(EXIT_CODES[count]),
        )  # fmt: skip
        script = self.batch.render(evolve(self.job, name=name, command=command, log_directory=str(self.folder)))
        found: list[JobId] = []
        while len(found) < count:
            submitted = await self._handed_over(title, script, count - len(found), keep=not found)
            ids = submitted.result if submitted.error is None else await self._found_all_the_same()
            if not ids:
                break
            found += ids
            self._ids += ids
        return found

    async def _handed_over(self, title: str, script: Script, count: int, *, keep: bool) -> Taken:
        """A submission. Ctrl-C does not end it half-way: its jobs would be there, and nobody knew which."""
        self._unanswered.append(script.name)
        act = self._ask(title, "submit", first=Kind.ACT, keep=keep, script=script, count=count)
        task = asyncio.ensure_future(act)
        try:
            taken = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._note_ids(await task)
            raise
        self._note_ids(taken)
        return taken

    def _note_ids(self, submitted: Taken) -> None:
        is_refused = bool(submitted.answers and submitted.answers[-1].returncode)
        if submitted.error is None or is_refused:
            self._unanswered.pop()
        if submitted.error is None:
            self._submitted |= set(submitted.result)

    async def _found_all_the_same(self) -> list[JobId]:
        """The jobs of submissions whose answer was not understood that can be found by their name, and were not yet."""
        found: list[JobId] = []
        for name in self._unanswered if self._finds_by_name else ():
            looked = await self._ask("find-unanswered", "find_jobs", keep=False, name=name)
            found += [each for each in looked.result if each not in self._submitted] if looked.is_good else ()
        self._submitted |= set(found)
        return found

    async def _run(self, array: Sequence[JobId]) -> None:
        """Until they run, and while they do."""
        if not self._ids:
            return
        self.tell(f"waits until they run, for at most {self.patience:.0f} s")
        if not await self._until(_has_started, self.patience, settled_for=SETTLED):
            self.tell("some jobs have not started: what follows is about the others")
        await self._ask("find", "find_jobs", name=f"{self.prefix}2")
        await self._ask("find-beginning", "find_jobs", name=f"{self.prefix}*")
        await self._recognize()
        if self._has("explain_pending"):
            # Also of a job that runs: somebody asks, and it has started meanwhile.
            await self._ask("explain-running", "explain_pending", job_id=self._ids[-1])
        await self._listen()
        if middle := self._living(array[1:2]):
            self.tell(f"cancels one of three: {middle[0]}")
            await self._cancel("cancel-one-of-three", middle)
            await self._until_ended(middle)

    async def _end(self, single: Sequence[JobId], array: Sequence[JobId]) -> None:
        """Their end, and what is said of what is gone or never was."""
        if not self._ids:
            return
        self.tell("has the others end")
        (self.folder / STOP).touch()
        await self._until_ended(self._ids)
        await self._ask("find-ended", "find_jobs", name=f"{self.prefix}*")
        gone = [each for each in single if each in self._ours & self._ended]
        if gone:
            self.tell(f"cancels {gone[0]}, which is gone")
            await self._cancel("cancel-gone", gone)
        if (unknown := unknown_id(self._ids[0])) is not None:
            polled = await self._ask("poll-unknown", "poll_status", job_ids=[unknown])
            if polled.is_good and not polled.result:
                await self._cancel("cancel-unknown", [unknown])

    async def _leave(self) -> None:
        """Nothing of it stays."""
        (self.folder / STOP).touch()
        if not (self._submitted or self._unanswered):
            return
        await self._found_all_the_same()
        if left := await self._recognize():
            self.tell(f"cancels {' '.join(map(str, left))}")
            await self._cancel("cancel-left", left, keep=False)
            for _ in range(round(END_PATIENCE / PAUSES[-1])):
                await asyncio.sleep(PAUSES[1])
                if not (left := await self._recognize()):
                    break
                await asyncio.sleep(PAUSES[-1])
        unsure = left if self._finds_by_name else sorted(self._submitted - self._ended)
        if unsure or self._unanswered:
            self.folder_has_use = True
            self.tell(
                f"jobs called {self.prefix}* may be left {' '.join(map(str, unsure))}: they end by themselves "
                f"{self.patience:.0f} s after they have started, or you cancel them"
            )

    # --- questions ----------------------------------------------------------------------------------------------

    async def _ask(
        self, title: str, hook: str, *, first: Kind = Kind.MORE, keep: bool = True, **arguments: Any
    ) -> Taken:
        call = getattr(self.batch.manager.hook, hook)
        taken = await held(
            title, hook, lambda: call(**arguments), self.batch.runner, budget=self.batch.budget, first=first
        )
        taken = evolve(taken, arguments=arguments)
        if keep:
            self.taken.append(taken)
        return taken

    async def _poll(self, *, keep: bool = True) -> None:
        before = _words(self._states)
        polled = await self._ask("poll", "poll_status", first=Kind.QUESTION, keep=False, job_ids=list(self._ids))
        if polled.error is None:
            self._states = dict(polled.result)
            self._ended = {each for each in self._ids if _is_over(self._states.get(each))}
            self.meet(host for status in self._states.values() for host in status.hosts)
        after = _words(self._states)
        is_first_trouble = not polled.is_good and all(each.hook != "poll_status" for each in self.taken)
        if keep and ((polled.is_good and after != before) or is_first_trouble):
            words = sorted({state.value.replace(" ", "-") for state in after.values()})
            self.taken.append(evolve(polled, title="-".join(["poll", *(words or ["gone"])])))
        waiting = [job_id for job_id, state in after.items() if state.is_waiting]
        if waiting and self._has("explain_pending") and "explain-pending" not in {each.title for each in self.taken}:
            await self._ask("explain-pending", "explain_pending", job_id=waiting[0])

    async def _until(
        self,
        is_so: Callable[[JobStatus | None], bool],
        patience: float,
        job_ids: Iterable[JobId] | None = None,
        *,
        keep: bool = True,
        settled_for: float = math.inf,
    ) -> bool:
        """Poll until this is so of these jobs, or of all; False if that took too long.

        Parameters
        ----------
        settled_for
            Some run, and nothing has changed for so long (s): the others wait for these to end.
        """
        loop = asyncio.get_running_loop()
        end, pauses = loop.time() + patience, iter(PAUSES)
        changed = loop.time()
        watched = list(self._ids if job_ids is None else job_ids)
        while True:
            await asyncio.sleep(next(pauses, PAUSES[-1]))
            before = self._states
            await self._poll(keep=keep)
            if _words(before) != _words(self._states):
                changed = loop.time()
            if all(is_so(self._states.get(job_id)) for job_id in watched):
                return True
            is_settled = loop.time() - changed > settled_for and JobState.RUNNING in _words(self._states).values()
            if is_settled or loop.time() > end:
                return False

    async def _until_ended(self, job_ids: Iterable[JobId], *, keep: bool = True) -> None:
        await self._until(_is_over, END_PATIENCE, job_ids, keep=keep)

    async def _cancel(self, title: str, job_ids: Sequence[JobId], *, keep: bool = True) -> None:
        if job_ids:
            await self._ask(title, "cancel", first=Kind.ACT, keep=keep, job_ids=list(job_ids))

    async def _recognize(self) -> list[JobId]:
        """The submitted jobs that the batch system lists under a name of this life."""
        if not self._finds_by_name:
            return []
        found = await self._ask("find-ours", "find_jobs", keep=False, name=f"{self.prefix}*")
        listed = [each for each in found.result or () if each in self._submitted]
        self._ours |= set(listed)
        return listed

    async def _listen(self) -> None:
        """What the jobs tell from inside; those that run do so soon."""
        running: set[str] = set()
        for pause in (0.0, *[1.0] * round(min(self.patience, LISTENING))):
            await asyncio.sleep(pause)
            for path in self.folder.glob("*.json"):
                said = json.loads(path.read_text(encoding="utf-8"))
                self.inside[said["id"]] = said
            running = {each.text for each, status in self._states.items() if status.state is JobState.RUNNING}
            if running <= self.inside.keys():
                break
        if missing := sorted(running - self.inside.keys()):
            self.folder_has_use = True
            self.tell(f"nothing was told from inside of {' '.join(missing)}: see the logs in {self.folder}")
        self.meet(said["environ"].get("HOSTNAME", "") for said in self.inside.values())

    def _living(self, job_ids: Iterable[JobId]) -> list[JobId]:
        return [each for each in job_ids if each in self._ours - self._ended]

    def _has(self, hook: str) -> bool:
        """The backend answers it itself."""
        implementations = getattr(self.batch.manager.hook, hook).get_hookimpls()
        return any(each.plugin_name != DEFAULTS and not each.wrapper for each in implementations)


def _has_started(status: JobStatus | None) -> bool:
    return status is not None and not status.state.is_waiting


def _is_over(status: JobStatus | None) -> bool:
    return status is None or status.state.is_final


def _words(states: Mapping[JobId, JobStatus]) -> dict[JobId, JobState]:
    return {job_id: status.state for job_id, status in states.items()}


def unknown_id(job_id: JobId) -> JobId | None:
    """An id of the same form that no job has, as far as can be guessed; None: it has no number."""
    text = re.sub(r"\d+", lambda match: str(int(match[0]) + 500_000), job_id.text, count=1)
    return None if text == job_id.text else evolve(job_id, text=text)


def prepared(folder: Path, names: Iterable[str]) -> None:
    """Make the folder of a life, with the names of the variables that are set where its jobs are submitted."""
    folder.mkdir(mode=0o700, parents=True)
    (folder / NAMES).write_text("\n".join(names))
