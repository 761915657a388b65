"""A site that changes nothing but where commands run: on a login node, over ssh."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from corral.plugin.carried import CarriesCommands
from corral.plugin.conversations import mapped, over_ssh
from corral.plugin.hookspecs import hookimpl
from corral.plugin.values import Command, Job


class LoginNode(CarriesCommands):
    """The site's plugin: it wraps every hook that a backend answers."""

    def carry(self, command: Command) -> Command:
        return over_ssh(command, "login1")

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Generator[None, Any, Any]:
        return (yield)

    @hookimpl(wrapper=True)
    def render_script(self, job: Job) -> Generator[None, Any, Any]:
        return (yield)

    @hookimpl(wrapper=True)
    def read_allocation(self, environ: Mapping[str, str]) -> Generator[None, Any, Any]:
        return mapped((yield), self.carry)
