"""A site that changes nothing but where commands run: on a login node, over ssh."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from corral.plugin.conversations import mapped, over_ssh
from corral.plugin.hookspecs import hookimpl
from corral.plugin.values import Command, Job, JobId, Script

Wrapper = Generator[None, Any, Any]


def on_login_node(command: Command) -> Command:
    """The command where the login node runs it."""
    return over_ssh(command, "login1")


class LoginNode:
    """The site's plugin: it wraps every hook that a backend answers."""

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Wrapper:
        return (yield)

    @hookimpl(wrapper=True)
    def render_script(self, job: Job) -> Wrapper:
        return (yield)

    @hookimpl(wrapper=True)
    def submit(self, script: Script, count: int) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Sequence[JobId]) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Sequence[JobId]) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def find_jobs(self, name: str) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def read_allocation(self, environ: Mapping[str, str]) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def describe_queues(self) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def explain_pending(self, job_id: JobId) -> Wrapper:
        return mapped((yield), on_login_node)

    @hookimpl(wrapper=True)
    def detect(self) -> Wrapper:
        return mapped((yield), on_login_node)
