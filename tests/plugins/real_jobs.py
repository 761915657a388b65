"""A plugin's conversations with a real batch system, in its own tests: jobs that end with the test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import setups
from attrs import evolve, field, frozen

from corral.plugin import Command, Conversation, Job, JobId, JobState, JobStatus, Script
from corral.testing import Runner


@frozen
class RealJobs:
    """What one test submits."""

    #: The plugin.
    backend: Any
    #: The folder of the logs.
    logs: Path
    #: What a job is if its test says nothing else.
    usual: Job
    submitted: list[JobId] = field(factory=list)
    #: Where each of them writes, as its script says.
    _written: dict[JobId, Path] = field(factory=dict)

    async def talk(self, conversation: Conversation[Any]) -> Any:
        return await Runner().converse(conversation)

    async def ask(self, *argv: str) -> str:
        return (await Runner().run(Command(argv))).stdout

    def job(self, *command: str, **changes: Any) -> Job:
        return evolve(self.usual, command=command, **{"name": f"real-{uuid.uuid4().hex}", **changes})

    async def submit(self, job: Job, count: int = 1, backend: Any = None) -> list[JobId]:
        backend = backend or self.backend
        prepared = backend.prepare_job(setups.of_plugin(backend).fit(job))
        script: Script = backend.render_script(prepared)
        ids: list[JobId] = await self.talk(backend.submit(script, count))
        self.submitted.extend(ids)
        if script.log is not None:
            self._written.update({job_id: Path(script.log.replace("{id}", job_id.text)) for job_id in ids})
        return ids

    def log(self, job_id: JobId) -> Path:
        return self._written[job_id]

    async def until(self, ids: list[JobId], is_enough: Callable[[JobStatus], bool]) -> list[JobStatus]:
        """Wait until the batch system says this of all of them."""
        pause = 0.2
        while True:
            found: dict[JobId, JobStatus] = await self.talk(self.backend.poll_status(ids))
            if len(found) == len(ids) and all(is_enough(status) for status in found.values()):
                return [found[job_id] for job_id in ids]
            await asyncio.sleep(pause)
            # Where jobs wait for minutes, others use the batch system, too.
            pause = min(pause * 1.05, 5.0)

    async def until_in(self, ids: list[JobId], state: JobState) -> None:
        await self.until(ids, lambda status: status.state is state)

    async def until_it_prints(self, job_id: JobId, word: str) -> str:
        log = self.log(job_id)
        while True:
            if log.exists() and word in (printed := log.read_text()):
                return printed
            await asyncio.sleep(0.1)

    async def run(self, job: Job, backend: Any = None) -> str:
        """Submit one job, wait for its end, and return what it printed."""
        ids = await self.submit(job, 1, backend)
        await self.until(ids, lambda status: status.state.is_final)
        return self.log(ids[0]).read_text()


@asynccontextmanager
async def real_jobs(backend: Any, logs: Path, **usual: Any) -> AsyncIterator[RealJobs]:
    """Jobs of five minutes at most; those that are left at the end are cancelled."""
    real = RealJobs(backend, logs, Job(walltime=300, log_directory=str(logs), **usual))
    try:
        yield real
    finally:
        if real.submitted:
            await real.talk(backend.cancel(real.submitted))


def variables(printed: str) -> dict[str, str]:
    """What ``env`` printed."""
    return dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
