"""The law that hooks think, and do nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import evolve

from corral.errors import CommandError, InvalidRequest, ParseError
from corral.plugin.values import Allocation, Completed, JobId, Script
from corral.testing.driving import Answer, converse, one_by_one
from corral.testing.laws.declared import Laws
from corral.testing.recordings import Recording
from corral.testing.silence import SilentHooks
from corral.testing.stillness import Stillness

#: For a conversation that wants more than was recorded.
_NO = Completed(returncode=1, stderr="no\n")


class StillnessLaws(Laws):
    """Of all hooks."""

    def test_hooks_neither_wait_nor_look_around(self) -> None:
        """No sleep, no loop that waits, no look at files or at the environment: only what they are given."""
        facts = self._facts()
        manager = self.manager()
        still = Stillness(may_read=(*facts.server, *facts.carried))
        for watched in (None, still):
            # The first time, modules are imported.
            hooks = SilentHooks(manager) if watched is None else SilentHooks(manager, watched)
            for call in self._everything(hooks):
                with suppress(CommandError, InvalidRequest, ParseError):
                    call()

    def _everything(self, hooks: SilentHooks) -> Iterator[Callable[[], Any]]:
        """Each hook, on what was declared; pure ones at least once, with an answer that fails among the others."""
        job = hooks.prepare_job(job=evolve(self.job, extra_directives=self.extra_directives))
        script: Script = hooks.render_script(job=job)
        yield lambda: hooks.parse_resources(text=str(script))
        bare = evolve(self.job, account=None, queue=None, walltime=None, log_directory=None)
        # What is not said may be looked for elsewhere.
        yield lambda: hooks.render_script(job=hooks.prepare_job(job=bare))
        yield lambda: hooks.launch_command(
            allocation=Allocation(job_id=JobId("1"), hosts=["n1", "n2"], cores=1), command=["true"]
        )
        yield lambda: hooks.classify_failure(completed=Completed(argv=["x"], returncode=1, stderr="the dog ate it\n"))
        for recording in self.recordings:
            answers: list[Answer] = [*recording.answers_from(self.transcripts), *[_NO] * 9]
            yield partial(self._converse, hooks, script, recording, answers)

    def _converse(self, hooks: SilentHooks, script: Script, recording: Recording, answers: Sequence[Answer]) -> None:
        converse(self._ask(hooks, script, recording), one_by_one(answers))
