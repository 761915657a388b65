"""Laws about requests: what is asked for is what the directives say, and is read back as that."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from corral.errors import InvalidRequest, ParseError
from corral.plugin.values import Job, Script
from corral.testing.garbage import HOSTILE, garbled
from corral.testing.laws.declared import Laws, by_property, words_of
from corral.testing.silence import SilentHooks

#: The words in `Job.skip` that are fields of a job, and what it is without each.
FIELDS: dict[str, Callable[[Job], Job]] = {
    "nodes": lambda job: evolve(job, resources=evolve(job.resources, nodes=1)),
    "cores": lambda job: evolve(job, resources=evolve(job.resources, cores=1)),
    "memory": lambda job: evolve(job, resources=evolve(job.resources, memory=None)),
    "gpus": lambda job: evolve(job, resources=evolve(job.resources, gpus=0)),
    "walltime": lambda job: evolve(job, walltime=None),
}


class RequestLaws(Laws):
    """Of `prepare_job`, `parse_resources`, and the directives of `render_script`."""

    def test_the_backend_takes_the_job_of_the_laws(self) -> None:
        """All laws about scripts are tried on one request, `job`; what is refused shows nothing."""
        if refusal := self._why_the_job_is_refused():
            where = "the kit's own" if type(self).job is Laws.job else "the one that is declared"
            pytest.fail(
                f"{self.backend} refuses the job on which the laws are tried, {where}: {refusal}\nDeclare one in "
                f"{type(self).__name__} that it takes, and that asks for as much as it can: `job = "
                f"Job(name={self.job.name!r}, command=('true',), resources=Resources(cores=2, memory=2**30), …)`",
                pytrace=False,
            )

    @by_property
    @given(choice=st.data())
    def test_parse_reads_what_render_wrote(self, hooks: SilentHooks, choice: st.DataObject) -> None:
        """`parse_resources` is the inverse of `render_script`, but for what no directive says."""
        job = self._prepared(hooks, choice.draw(self.jobs()))
        read = _read(hooks, str(hooks.render_script(job=job)))
        assert self._enforced(_as_directives_say(job)) == self._enforced(read)

    @pytest.mark.parametrize("shebang", ["#!/bin/sh", "#!/usr/bin/env bash", "#!/bin/bash -l"])
    def test_parse_keeps_the_shebang(self, hooks: SilentHooks, shebang: str) -> None:
        """The user's: a script that is read and written again runs in the shell that it was written for."""
        job = hooks.prepare_job(job=evolve(self.job, shebang=shebang))
        script = hooks.render_script(job=job)
        assert script.shebang == shebang, (
            f"render_script writes {script.shebang!r} for {shebang!r}: give it job.shebang"
        )
        read = hooks.parse_resources(text=str(script)).shebang
        assert read == shebang, f"parse_resources makes {read!r} of a script that begins with {shebang!r}"

    def test_parse_keeps_every_extra_directive(self, hooks: SilentHooks) -> None:
        """What is not the backend's own to know is the user's: each alone, all of them, and two that begin alike."""
        assert self.extra_directives, "declare extra_directives: lines of a script that only your batch system knows"
        for given_ in ([], *([each] for each in self.extra_directives), self.extra_directives):
            job = hooks.prepare_job(job=evolve(self.job, extra_directives=given_))
            script = hooks.render_script(job=job)
            read = list(hooks.parse_resources(text=str(script)).extra_directives)
            # Their order may be lost: where two say the same, the batch system knows which counts.
            assert sorted(read) == sorted(given_), f"parse_resources reads the extra directives {read} in\n{script}"
        for each in self.extra_directives:
            # A quote stays closed.
            twice = [each, re.sub(r"(\w)(\W*)$", r"\g<1>2\2", each)]
            try:
                script = hooks.render_script(job=hooks.prepare_job(job=evolve(self.job, extra_directives=twice)))
                read = list(hooks.parse_resources(text=str(script)).extra_directives)
            except (InvalidRequest, ParseError):
                continue
            # They may have been made one.
            lost = words_of(*twice) - words_of(*read)
            assert not lost, (
                f"parse_resources loses {sorted(lost)} of two that begin alike, and reads {read} in\n{script}"
            )

    @by_property
    @given(choice=st.data())
    def test_preparing_never_gives_less_and_can_be_repeated(self, hooks: SilentHooks, choice: st.DataObject) -> None:
        """Units are rounded up; a prepared job is prepared."""
        job = choice.draw(self.jobs())
        prepared = self._prepared(hooks, job)
        assert prepared == hooks.prepare_job(job=prepared)
        assert job.resources.nodes <= prepared.resources.nodes
        assert job.resources.cores <= prepared.resources.cores
        assert job.resources.gpus <= prepared.resources.gpus
        # None: this batch system cannot be asked for memory, or is not asked for a walltime.
        assert prepared.resources.memory is None or (job.resources.memory or 0) <= prepared.resources.memory
        assert prepared.walltime is None or (job.walltime or 0) <= prepared.walltime

    @by_property
    @given(choice=st.data())
    def test_a_strange_request_raises_parse_error_and_nothing_else(
        self, hooks: SilentHooks, script: Script, choice: st.DataObject
    ) -> None:
        """A native request is a Job, or a ParseError."""
        try:
            job = hooks.parse_resources(text=choice.draw(garbled(str(script))))
        except ParseError:
            return
        assert type(job) is Job

    def test_a_request_cut_short_raises_parse_error_and_nothing_else(self, hooks: SilentHooks) -> None:
        """Wherever it ends: a value may be missing, and its option too."""
        text = str(hooks.render_script(job=self._full_job(hooks)))
        # Of a script what is before its body; of a description everything.
        lines = text.splitlines(keepends=True)
        header = "".join(itertools.takewhile(lambda line: line.startswith("#"), lines)) or text
        for end in range(len(header)):
            with contextlib.suppress(ParseError):
                assert type(hooks.parse_resources(text=header[:end])) is Job, header[:end]

    def test_skipping_a_directive_touches_no_other(self, hooks: SilentHooks) -> None:
        """Leaving out ``-n`` leaves ``-J dask-nightly`` alone, and the user's own lines too."""
        job = self._full_job(hooks)
        directives = hooks.render_script(job=job).directives
        for name in {directive.name for directive in directives} - set(FIELDS):
            skipped = list(hooks.render_script(job=evolve(job, skip=job.skip | {name})).directives)
            # One directive may say ours and the user's together, where the batch system takes but one: that is the
            # user's alone then.
            apart = [each for each in skipped if each in directives or not _is_extra(each.text, job)]
            assert apart == [each for each in directives if each.name != name or _is_extra(each.text, job)]

    @pytest.mark.parametrize("field", FIELDS)
    def test_skipping_a_field_touches_no_other(self, hooks: SilentHooks, field: str) -> None:
        """Every field can be left out, even where one directive carries several."""
        job = self._full_job(hooks)
        skipped = str(hooks.render_script(job=evolve(job, skip=job.skip | {field})))
        assert self._enforced(FIELDS[field](_as_directives_say(job))) == self._enforced(_read(hooks, skipped))

    @pytest.mark.parametrize("field", ["name", "queue", "account", "log_directory"])
    def test_a_hostile_field_is_refused_or_kept(self, hooks: SilentHooks, field: str) -> None:
        """What a person wrote never becomes another directive."""
        for hostile in HOSTILE:
            value = f"/x{hostile}y" if field == "log_directory" else f"x{hostile}y"
            changes: dict[str, Any] = {field: value}
            try:
                script = hooks.render_script(job=hooks.prepare_job(job=evolve(self.job, **changes)))
            except InvalidRequest:
                continue
            assert not [each.text for each in script.directives if len(each.text.splitlines()) != 1]
            assert value == getattr(hooks.parse_resources(text=str(script)), field)

    def test_excluded_hosts_are_asked_for_or_ignored(self, hooks: SilentHooks) -> None:
        """A backend that cannot ask for other hosts writes the same script."""
        job = self._full_job(hooks)
        plain, choosy = (hooks.render_script(job=evolve(job, excluded_hosts=hosts)) for hosts in ([], ["badhost7"]))
        assert plain == choosy or "badhost7" in str(choosy)
        assert (plain.body, plain.log) == (choosy.body, choosy.log)

    def _enforced(self, job: Job) -> Job:
        """Without what nobody holds jobs to (`BackendFacts.unenforced`): that need not be written."""
        for word in self._facts().unenforced:
            job = FIELDS[word](job)
        return job

    def _prepared(self, hooks: SilentHooks, job: Job) -> Job:
        try:
            prepared: Job = hooks.prepare_job(job=job)
        except InvalidRequest:
            assume(False)
        return prepared


def _as_directives_say(job: Job) -> Job:
    """What the directives of a job say of it."""
    plain = Job()
    return evolve(
        job,
        command=plain.command,
        resources=evolve(job.resources, processes=1),
        environment=plain.environment,
        prologue=plain.prologue,
        epilogue=plain.epilogue,
        skip=plain.skip,
        shebang=plain.shebang,
        extra_directives=sorted(job.extra_directives),
    )


def _read(hooks: SilentHooks, text: str) -> Job:
    """What `parse_resources` reads, with the user's own directives in a fixed order: they need not keep theirs.

    It may say that something was skipped.
    """
    job: Job = hooks.parse_resources(text=text)
    return evolve(job, extra_directives=sorted(job.extra_directives), shebang=Job().shebang, skip=Job().skip)


def _is_extra(text: str, job: Job) -> bool:
    return any(text.endswith(directive) for directive in job.extra_directives)
