"""Laws about other batch systems: they are not taken for one's own, neither from outside nor from inside of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

from attrs import evolve

from corral.errors import CommandError, ParseError
from corral.plugin.values import Command, Completed
from corral.testing.driving import converse
from corral.testing.garbage import FOREIGN
from corral.testing.laws.declared import Laws
from corral.testing.others import LOGIN, STRANGERS, Other, others_than
from corral.testing.recordings import Detects
from corral.testing.silence import SilentHooks

#: Words, but not the letters of a version.
_WORD = re.compile(r"[A-Za-z]{2,}")
_STRANGER = "stranger"


class OtherLaws(Laws):
    """Of `detect` and `read_allocation`, where they must say no."""

    def test_detect_says_no_to_its_relatives(self, hooks: SilentHooks) -> None:
        """Several batch systems have a `qsub`: only what this one prints is taken for its version."""
        for other in self._others():
            for program in self._asked(hooks):
                for answer in other.answers_of(program):
                    seen = self._detected(hooks, answer)
                    assert seen is None, (
                        f"detect takes {other.title} for {self.backend}: {_said(answer)!r} is read as {seen!r}. "
                        "Look for the name that only your batch system prints. If both are one under two names, "
                        f"declare `same_as = ({other.title!r},)`"
                    )

    def test_detect_says_no_to_garbage(self, hooks: SilentHooks) -> None:
        """A command of the same name that prints something else, nothing, or fails, is no batch system."""
        failing = [evolve(answer, returncode=1) for other in self._others() for answer in other.versions]
        foreign = [Completed(stdout=text) for text in FOREIGN] + [Completed(stderr=text) for text in FOREIGN]
        if self._asked(hooks):
            for answer in (*STRANGERS, *foreign, *failing, *self._under_other_names()):
                seen = self._detected(hooks, answer)
                assert seen is None, (
                    f"detect finds {self.backend}, version {seen!r}, in an answer (exit code {answer.returncode}) that "
                    f"is not its own: {_said(answer)!r}. Look for the name that only your batch system prints"
                )

    def test_outside_of_a_job_there_is_no_allocation(self, hooks: SilentHooks) -> None:
        """On a login node there is none, even with the variables that find the server (`BackendFacts.carried`)."""
        carried = dict.fromkeys(self._facts().carried, "x")
        for environ in ({}, LOGIN, {**LOGIN, **carried}):
            self._is_no_job(hooks, environ, "outside of any job")

    def test_in_another_systems_job_there_is_no_allocation(self, hooks: SilentHooks) -> None:
        """The same program may be in a job of any batch system, and of none that has a JOB_ID, too."""
        for other in self._others(*self.also_inside):
            for environ in other.jobs:
                where = f"in a job of {other.title}"
                self._is_no_job(hooks, {**LOGIN, **environ}, where)
                # Those that corral submitted there know their id by this, too.
                self._is_no_job(hooks, {**LOGIN, **environ, "CORRAL_JOB_ID": "77"}, where)

    def _is_no_job(self, hooks: SilentHooks, environ: Mapping[str, str], where: str) -> None:
        advice = "Return None unless variables are there that only your batch system sets"
        try:
            seen = converse(hooks.read_allocation(environ=environ), lambda _: "")
        except Exception as error:
            raise AssertionError(f"read_allocation fails {where}: {error!r}. {advice}") from error
        assert seen is None, (
            f"read_allocation takes this process for job {seen.job_id} of {self.backend} {where}: {sorted(environ)}. "
            f"{advice}; where its jobs are yours too, declare it in `also_inside`"
        )

    def _others(self, *more: str) -> list[Other]:
        return others_than([self.backend, self._facts().title, *self.same_as, *more])

    def _asked(self, hooks: SilentHooks) -> list[str]:
        """The programs that `detect` runs, given the answers that were recorded."""
        asked: dict[str, None] = {}

        def noted(command: Command, answers: Iterator[Completed]) -> Completed:
            # Over ssh, the command is the last word.
            asked.update(dict.fromkeys(word.split()[0] for word in (command.argv[0], command.argv[-1]) if word.strip()))
            return next(answers)

        for recording in self._recorded(Detects):
            converse(hooks.detect(), partial(noted, answers=iter(recording.answers_from(self.transcripts))))
        return list(asked)

    def _under_other_names(self) -> Iterator[Completed]:
        """What was recorded, with another word in the place of each: somebody else's version."""
        for recording in self._recorded(Detects):
            for answer in recording.answers_from(self.transcripts) if recording.version else ():
                out, errors = (_WORD.sub(_STRANGER, text) for text in (answer.stdout, answer.stderr))
                # Some print nothing but a version.
                if (out, errors) != (answer.stdout, answer.stderr):
                    yield evolve(answer, stdout=out, stderr=errors)

    def _detected(self, hooks: SilentHooks, answer: Completed) -> str | None:
        try:
            seen = converse(hooks.detect(), lambda command: evolve(answer, argv=command.argv))
        except (CommandError, ParseError):
            return None
        return None if seen is None else seen.version or "not known"


def _said(answer: Completed) -> str:
    return answer.stdout or answer.stderr
