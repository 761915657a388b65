"""The name of a job is the backend's alone: neither sites and users' plugins nor extra directives can change it.

corral finds its jobs by their names, after a submission without an answer and to clean up. A job with another name
would be submitted twice, or be left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

import pluggy
from attrs import frozen

from corral.errors import CorralError, InvalidRequest
from corral.plugin.hookspecs import hookimpl
from corral.plugin.values import Job, Script

if TYPE_CHECKING:
    from corral.plugin.validation import NamedPlugin

_FINDS = "corral finds its jobs by their names: when a submission was not answered, and to clean up"
_WHY = f"{_FINDS}. Leave the name as it is; users choose it with Cluster(name=…)"


@frozen(kw_only=True, eq=False)
class NameChecks:
    """Wrappers around all others that compare the name with what the backend alone makes of it."""

    #: The backend, with nothing around it, and with one of those that are.
    _alone: pluggy.PluginManager
    _within: Callable[[NamedPlugin], pluggy.PluginManager]
    #: Those that wrap one of these hooks.
    _around: Sequence[NamedPlugin]

    @hookimpl(wrapper=True, tryfirst=True)
    def prepare_job(self, job: Job) -> Generator[None, object, object]:
        prepared = yield
        if isinstance(prepared, Job):
            self._compare("prepare_job", job, prepared)
        return prepared

    @hookimpl(wrapper=True, tryfirst=True)
    def render_script(self, job: Job) -> Generator[None, object, object]:
        script = yield
        if isinstance(script, Script):
            self._compare("render_script", job, script)
        return script

    def _compare(self, hook: str, job: Job, result: Job | Script) -> None:
        own = getattr(self._alone.hook, hook)(job=job)
        if not (change := self._change(own, result)):
            return
        guilty = [each for each in self._around if self._is_changed_by(each, hook, job, own)] or self._around
        guilty[0].refuse(f"hook {hook!r} {change}. {_WHY}")

    def _change(self, own: Job | Script, result: Job | Script) -> str:
        """What has become of the name, in words; empty if it is the same."""
        if own.name != result.name:
            return f"changes the job's name from {own.name!r} to {result.name!r}"
        if isinstance(own, Job) and isinstance(result, Job):
            if (own.extra_directives, own.skip) == (result.extra_directives, result.skip):
                return ""
        elif own == result:
            return ""
        before, after = self._written(own), self._written(result)
        if before is None or after is None or before == after:
            return ""
        if not after:
            return f"leaves out the job's name {before!r}"
        return f"changes the job's name from {before!r} to {after!r}, in its directives"

    def _is_changed_by(self, plugin: NamedPlugin, hook: str, job: Job, own: Job | Script) -> bool:
        try:
            return bool(self._change(own, getattr(self._within(plugin).hook, hook)(job=job)))
        except CorralError:
            return False  # it needs what another one does

    def _written(self, asked: Job | Script) -> str | None:
        try:
            script = self._alone.hook.render_script(job=asked) if isinstance(asked, Job) else asked
        except CorralError:
            return None  # it is refused, in words of its own, where it is needed
        return _name_in(self._alone, script)


def _name_in(manager: pluggy.PluginManager, script: Script) -> str | None:
    """What the batch system will read as the job's name; None if nobody can tell."""
    try:
        read: Job = manager.hook.parse_resources(text=str(script))
    except CorralError:
        return None
    return read.name


def check_name(manager: pluggy.PluginManager, job: Job, script: Script) -> None:
    """See that a script names its job as corral will look for it, whatever the user has it say or leave out.

    Raises
    ------
    InvalidRequest
    """
    if not (job.extra_directives or job.skip) or (name := _name_in(manager, script)) in (None, script.name):
        return
    if not name and job.skip:
        raise InvalidRequest("skip_directives", f"the job's name, {script.name!r}, is needed. {_FINDS}")
    guilty = [each for each in job.extra_directives if name and name in each] or job.extra_directives
    called = repr(name) if name else "otherwise"
    raise InvalidRequest(
        "extra_directives",
        f"with {' and '.join(map(repr, guilty))} the job is called {called}, not {script.name!r}. {_FINDS}. "
        "Leave that out; what the names of all jobs begin with is the cluster's name=",
    )
