"""A site whose batch commands run elsewhere: on a login node, say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

from corral.plugin.conversations import mapped
from corral.plugin.hookspecs import hookimpl
from corral.plugin.values import Command, JobId, Script

#: Around a hook that talks.
Wrapper = Generator[None, Any, Any]


class CarriesCommands(ABC):
    """Base class of a site that changes every command with which corral asks the batch system. ::

        class Harbour(CarriesCommands, DescribedSite):
            def carry(self, command):
                return over_ssh(command, "login1")

    What a job asks about itself, `read_allocation`, stays where the job is; what plugins ask in `check_health` is asked
    here.
    """

    @abstractmethod
    def carry(self, command: Command) -> Command:
        """The command as it is to be run on this host. Pure."""

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Wrapper:
        return mapped((yield), self.carry)

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Sequence[JobId]) -> Wrapper:
        return mapped((yield), self.carry)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Sequence[JobId]) -> Wrapper:
        return mapped((yield), self.carry)

    @hookimpl(wrapper=True)
    def find_jobs(self, name: str) -> Wrapper:
        return mapped((yield), self.carry)

    @hookimpl(wrapper=True)
    def describe_queues(self) -> Wrapper:
        return mapped((yield), self.carry)

    @hookimpl(wrapper=True)
    def explain_pending(self, job_id: JobId) -> Wrapper:
        return mapped((yield), self.carry)

    @hookimpl(wrapper=True)
    def detect(self) -> Wrapper:
        return mapped((yield), self.carry)
