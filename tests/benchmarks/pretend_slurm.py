"""What Slurm's commands would print if every job ran at once, however many they are: no daemon, no process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from corral import hookimpl
from corral.plugin.values import Command, Conversation, JobId, JobState, JobStatus, Script
from corral.testing.driving import converse

JOBS = 10_000


def squeue(array: int, state: str, indices: Sequence[int]) -> str:
    """The rows of one array, as Slurm 22.05 prints them for corral's question."""
    submitted = 1795477505
    return "".join(
        f"{array}_{index}|{state}|0|n{index % 500 + 1}|{submitted}|{submitted + index // 10}|{submitted + 3600}|None|\n"
        for index in indices
    )


class PretendSlurm:
    """A plugin between the core and corral-slurm: it answers what that one asks."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._is_cancelled = False
        self._running = 0
        #: Set when the cluster knows that all jobs run.
        self.all_run = asyncio.Event()

    def answer(self, command: Command) -> str:
        match command.argv[0]:
            case "sbatch":
                size = next(word for word in command.argv if word.startswith("--array=")).rpartition("-")[2]
                self._sizes.append(int(size) + 1)
                return f"{len(self._sizes)}\n"
            case "scancel":
                self._is_cancelled = True
                return ""
            case "squeue":
                state = "CANCELLED" if self._is_cancelled else "RUNNING"
                return "".join(squeue(array, state, range(size)) for array, size in enumerate(self._sizes, start=1))
        raise AssertionError(f"nobody should ask: {command.argv}")

    def _answered(self, conversation: Conversation[Any]) -> Conversation[Any]:
        return converse(conversation, self.answer)
        yield  # a conversation that asks nothing

    @hookimpl
    def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self._running += after.state is JobState.RUNNING
        if self._running == JOBS:
            self.all_run.set()

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Any:
        return self._answered((yield))

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Sequence[JobId]) -> Any:
        return self._answered((yield))

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Sequence[JobId]) -> Any:
        return self._answered((yield))
