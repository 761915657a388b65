"""A site as it should be: it names Acme, knows its users' account, and submits as somebody else."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve

from corral.plugin import Command, Job, Script, hookimpl, mapped


class Barn:
    backend = "acme"

    def __init__(self, account: str = "herd") -> None:
        self.account = account
        self.backend_options = {"batch_size": 10}

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Generator[None, Job, Job]:
        job = yield
        return evolve(job, account=job.account or self.account)

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Generator[None, Any, Any]:
        return mapped((yield), as_herd)


def as_herd(command: Command) -> Command:
    return evolve(command, argv=("sudo", "-u", "herd", *command.argv))
