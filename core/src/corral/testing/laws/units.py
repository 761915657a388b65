"""The law about units: a request means what the batch system itself said that it was asked for."""

from __future__ import annotations

import itertools
import re

import pytest
from attrs import evolve

from corral.plugin.values import Job, Resources
from corral.testing.driving import transcript
from corral.testing.laws.declared import Laws
from corral.testing.silence import SilentHooks


class UnitLaws(Laws):
    """Of memory and walltime."""

    def test_units_are_those_of_the_batch_system(self, hooks: SilentHooks) -> None:
        """A thousand or 1,024, minutes or seconds: `render_script` and `parse_resources` may agree, and be wrong.

        So what is said of walltime, and of memory, is written as it was in one of the requests that were submitted.
        """
        if not self.units:
            pytest.skip("declare `units`: a request, and the answer in which the batch system says what that asked for")
        strange: dict[str, set[str]] = {}
        for pair in self.units:
            answer = pair.answer if not isinstance(pair.answer, str) else transcript(self.transcripts / pair.answer)
            for words in pair.says:
                assert words in f"{answer.stdout}\n{answer.stderr}", f"{words!r} is not in {pair.answer}"
            read = hooks.parse_resources(text=pair.request)
            asked = (pair.memory, pair.walltime)
            assert (read.resources.memory, read.walltime) == asked, (
                f"{pair.request!r} asks for {pair.memory} bytes and {pair.walltime} s: the batch system says "
                f"{', '.join(pair.says)}. parse_resources reads {read.resources.memory} bytes and {read.walltime} s"
            )
            job = evolve(
                self.job,
                resources=Resources(cores=read.resources.cores, memory=pair.memory),
                walltime=pair.walltime,
            )
            written = str(hooks.render_script(job=hooks.prepare_job(job=job)))
            again: Job = hooks.parse_resources(text=written)
            assert (again.resources.memory, again.walltime) == asked, (
                f"for {pair.memory} bytes and {pair.walltime} s, render_script writes another request than "
                f"{pair.request!r}:\n{written}"
            )
            for what, other in _others(job).items():
                differs = _words(written) - _words(str(hooks.render_script(job=hooks.prepare_job(job=other))))
                left = differs - _words(pair.request)
                strange[what] = min(strange.get(what, left), left, key=len)
        for what, left in strange.items():
            assert not left, (
                f"{what} is written as {sorted(left)}, and as in no request of `units`: submit one that render_script "
                "wrote, and declare that. If only parse_resources can read it, both may be wrong"
            )


def _others(job: Job) -> dict[str, Job]:
    """The same job with another amount of what it asks for, by the word for that."""
    more = 3 * (job.resources.memory or 0)
    found = {
        "walltime": None if job.walltime is None else evolve(job, walltime=job.walltime + 86_400),
        "memory": evolve(job, resources=evolve(job.resources, memory=more)) if more else None,
    }
    return {what: other for what, other in found.items() if other is not None}


def _words(text: str) -> set[str]:
    """Of the lines before a script's body, where its values are: ``walltime``, ``00:05:00``."""
    header = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return set(re.findall(r"[\w.]+(?::\d+)*", "\n".join(header) or text))
