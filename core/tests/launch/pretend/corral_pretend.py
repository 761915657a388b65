"""A batch system whose jobs are told by a file what they were granted, and whose nodes are all this host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from attrs import frozen

from corral import hookimpl
from corral.plugin.values import Allocation, Command, Conversation, Detected, Job, JobId, JobStatus, Script

#: Launchers submit and poll nothing.
_unasked = Command(["false"])


@frozen(kw_only=True)
class Pretend:
    #: Whether other nodes are reached by shells that begin with an environment of their own.
    is_remote: bool = False

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        done = yield Command(["cat", environ["PRETEND_ALLOCATION"]])
        fields = json.loads(done.stdout)
        return Allocation(job_id=JobId(fields.pop("job_id")), **fields)

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        hosts = range(len(allocation.hosts))
        if self.is_remote:
            return [["env", "-i", "PATH=/usr/bin:/bin", "OF_NODE=own", *command] for _ in hosts]
        return [["env", f"PMI_RANK={rank}", *command] for rank in hosts]

    @hookimpl
    def render_script(self, job: Job) -> Script:
        raise NotImplementedError

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        yield _unasked
        raise NotImplementedError

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        yield _unasked
        raise NotImplementedError

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield _unasked
        raise NotImplementedError

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        yield _unasked
        raise NotImplementedError

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        raise NotImplementedError

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        yield _unasked
        raise NotImplementedError
