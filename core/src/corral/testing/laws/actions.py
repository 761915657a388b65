"""Laws about actions: what submits does so once, and what cancels names the jobs that it was given, and no other."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest
from attrs import evolve

from corral.errors import CommandError, ParseError
from corral.plugin.values import Command, Completed, Conversation, JobId, Script
from corral.testing.driving import Answer, completed_or_error, converse, noted, one_by_one, transcript
from corral.testing.laws.commands import TROUBLES
from corral.testing.laws.declared import words_of
from corral.testing.laws.polls import PollLaws
from corral.testing.recordings import CancelsGone, Submits
from corral.testing.silence import SilentHooks, reads_of_environment

#: What batch systems say where the jobs may be there all the same: plugins know some of it, for a poll.
DOUBTS: dict[str, Answer] = {
    words: Completed(returncode=1, stderr=f"error: {words}\n")
    for words in (
        "Socket timed out on send/recv operation",
        "Connection reset by peer",
        "cannot connect to the server: temporarily unavailable, try again later",
    )
}

#: What batch systems say of a job that they could not cancel, with words in it that are said of ended jobs, too.
STILL_THERE = [
    "{id}: permission denied",
    "job {id} is not yours",
    "error: job {id} could not be deleted: no answer from its node",
    "{id} is still running: server not responding",
    "error: Kill job error on job id {id}: Access/permission denied",
]

#: What batch systems say of a job that is gone, or that `cancel` may take for that: it excuses no other line.
GONE = [
    "error: Kill job error on job id {id}: Job/step already completing or completed",
    "error: Kill job error on job id {id}: Invalid job id specified",
    "{id}: unknown job id",
    "job {id} does not exist, or has already finished",
]

#: What is after the last colon of a line.
_REASON = re.compile(r":(?!.*:) .+$", re.MULTILINE)

#: What a user may have set, and no job may get unless it is asked for; with this value, to know it again.
_OF_THE_USER = ("CORRAL_KIT_SECRET", "OMP_NUM_THREADS", "VIRTUAL_ENV", "MODULEPATH")
_CANARY = "a-canary-of-the-kit"

#: A word of a command so long is the script, or what it was made of.
_LONG = 64


class ActionLaws(PollLaws):
    """Of `submit` and `cancel`."""

    #: What the cancelling command prints when it fails to cancel a job (transcripts, or text as ``Completed``): none of
    #: it may be swallowed. The kit's own words are tried anyway.
    not_cancelled: ClassVar[Sequence[str | Completed]] = ()
    #: The user's variables that a submission may see, as in `Command.inherit`, where the batch system hands the
    #: environment of its command on to the job; None: it hands on none of it.
    inherits: ClassVar[Sequence[str] | None] = None

    # --- submit --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("trouble", [*TROUBLES, *DOUBTS])
    def test_a_submission_is_never_repeated(self, hooks: SilentHooks, script: Script, trouble: str) -> None:
        """When any of its commands hangs or fails, `submit` asks none again and the error comes out.

        The jobs may have been taken. Only the core, which looks for them by their name, may submit once more.
        """
        bad = TROUBLES[trouble] if trouble in TROUBLES else DOUBTS[trouble]
        for through, submission in self._submissions(hooks):
            answers: list[Answer] = list(submission.answers_from(self.transcripts))
            for healthy in range(len(answers)):
                # All is well again afterwards: who asks once more is answered.
                replies = [*answers[:healthy], bad, *answers[healthy:], *answers * 20]
                asked: list[Command] = []
                case = f"{submission}, {trouble} at its command {healthy + 1}"
                ended = _end(submission.ask(through, script, self.transcripts), noted(asked, one_by_one(replies)))
                again = [each for each in asked[healthy + 1 :] if _repeats(each, asked[: healthy + 1])]
                assert not again, f"{case}: it is repeated, and there may be two jobs; let the error come out"
                if trouble in DOUBTS and type(ended) is list:
                    # Words that the plugin knows for a refusal: what was taken before is returned.
                    assert healthy, f"{case}: submit ends with {ended!r}; let the error come out"
                    continue
                thrown = completed_or_error(asked[healthy], bad)
                assert type(ended) is type(thrown), f"{case}: submit ends with {ended!r}; let the error come out"

    def test_a_submission_inherits_only_what_is_declared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the environment that it is in, a job gets what `Job.environment` says.

        What the submitting command must see of it is named in `Command.inherit`; and no hook looks at the rest.
        """
        for name in _OF_THE_USER:
            monkeypatch.setenv(name, _CANARY)
        alone = SilentHooks(self.manager())
        with reads_of_environment() as read:
            script = alone.render_script(job=alone.prepare_job(job=self.job))
            asked: list[Command] = []
            for hooks, submission in self._submissions(alone):
                answers = one_by_one(submission.answers_from(self.transcripts))
                _end(submission.ask(hooks, script, self.transcripts), noted(asked, answers))
        submitting = [each for each in asked if (each.stdin or _script(each)) and each.argv[0] != "ssh"]
        facts = self._facts()
        for command in submitting:
            what = f"{command.argv[0]} sees "
            handed_on = [*command.argv, command.stdin, *command.env.values()]
            assert not [text for text in handed_on if _CANARY in text], f"{what}a variable of the user's by its value"
            if command.inherit is None:
                assert self.inherits is None, f"{what}every variable: give its Command an `inherit`"
                continue
            seen = [name for name in _OF_THE_USER if _is_among(name, command.inherit)]
            more = [
                name for name in command.inherit if self.inherits is not None and not _is_among(name, self.inherits)
            ]
            assert not seen, f"{what}{seen}, and the job would too: name in `inherit` what it needs"
            hidden = [
                name
                for name in (*facts.carried, *(name for name in facts.server if name.isidentifier()))
                if not _is_among(name, command.inherit)
            ]
            assert not hidden, f"{what}none of {hidden}, which find the server: name them in `inherit`, too"
            assert not more, f"{what}{more}, which is not declared in `inherits`"
        assert len({command.inherit is None for command in submitting}) <= 1, "one of its submissions has no `inherit`"
        undeclared = {name for name in read if not any(_is_among(name, each.inherit or ()) for each in submitting)}
        assert not undeclared, f"a hook reads {sorted(undeclared)} of this process's environment"

    def _submissions(self, hooks: SilentHooks) -> Iterator[tuple[SilentHooks, Submits]]:
        for submission in self._recorded(Submits):
            yield hooks, submission
        if self.alone is not None and self.alone not in self.recordings:
            yield SilentHooks(self.manager(arrays=False)), self.alone

    def test_a_submission_hands_over_the_whole_script(self) -> None:
        """Nothing of it is lost on the way: without a directive, or with another body, something else is submitted."""
        alone = SilentHooks(self.manager())
        script: Script = alone.render_script(job=self._full_job(alone))
        for hooks, submission in self._submissions(alone):
            usual = self._submitting(hooks, submission, script)
            for number, directive in enumerate(script.directives):
                others = [*script.directives[:number], *script.directives[number + 1 :]]
                less = self._submitting(hooks, submission, evolve(script, directives=others))
                assert usual != less, f"{submission}: {directive.text!r} of the script is not handed over"
            other = self._submitting(hooks, submission, evolve(script, body=f"{script.body}# the end\n"))
            assert usual != other, f"{submission}: not all of the script's body is handed over"
            other = self._submitting(hooks, submission, evolve(script, shebang="#!/bin/kit-shell"))
            assert usual != other, f"{submission}: the script's shebang is not handed over"

    def _submitting(self, hooks: SilentHooks, submission: Submits, script: Script) -> list[Command]:
        asked: list[Command] = []
        answers = one_by_one(submission.answers_from(self.transcripts))
        _end(submission.ask(hooks, script, self.transcripts), noted(asked, answers))
        return asked

    # --- cancel --------------------------------------------------------------------------------------------------

    def test_cancelling_names_its_jobs_and_no_neighbour(self) -> None:
        """Two jobs of an array of three are cancelled, and the third is not.

        How a batch system writes that is its own: so commands are compared with those for other jobs. But where a
        range begins and ends stands in it.
        """
        hooks = SilentHooks(self.manager())
        one, two, three = array = self.job_ids(3)
        groups = [[one], [two], [three], [one, two], [two, three], [one, three], array]
        strangers = self.job_ids(10_000)[::999]
        alive = [*array, *(each for each in strangers if each not in array)]
        commands = [self._cancelling(hooks, group, alive) for group in groups]
        for number, (group, asked) in enumerate(zip(groups, commands, strict=True)):
            for other, same in zip(groups[:number], commands[:number], strict=True):
                assert asked != same, f"cancelling {_texts(group)} is the same as cancelling {_texts(other)}: {asked}"
        for group, asked in zip(groups, commands, strict=True):
            said = words_of(asked)
            for end in (group[0], group[-1]):
                assert not (lost := words_of(end.text) - said), (
                    f"cancelling {_texts(group)} does not name {end}: {sorted(lost)} is not in {asked}"
                )
        stranger = max(strangers, key=lambda each: (_tokens(one.text) - _tokens(each.text)).total())
        usual = _tokens(self._cancelling(hooks, [stranger], alive))
        for job_id, asked in zip(array, commands, strict=False):
            its = _tokens(job_id.text) - _tokens(stranger.text)
            named = _tokens(asked) - usual
            # It may be named twice, but all of it as often.
            times = max(1, named.total() // max(1, its.total()))
            expected = Counter({token: count * times for token, count in its.items()})
            assert named == expected, f"cancelling {job_id} is to name it and no other job: {asked}"

    def cancel_answer(self, command: Command, alive: Sequence[JobId]) -> str | Completed:
        """What a command of `cancel` prints where these jobs live.

        A command that is `poll_status`'s, too, prints its table (`poll_answers`), any other nothing. Redefine it where
        `cancel` looks at jobs in another way before it cancels them.
        """
        return (self.poll_answers(alive) or [""])[-1] if _without_ids(command) in self._polling else ""

    @functools.cached_property
    def _polling(self) -> frozenset[tuple[str, ...]]:
        """What `poll_status` asks."""
        ids = self.job_ids(1)
        asked: list[Command] = []
        if answers := self.poll_answers(ids):
            converse(SilentHooks(self.manager()).poll_status(job_ids=ids), noted(asked, lambda _: answers[-1]))
        return frozenset(map(_without_ids, asked))

    def _cancelling(self, hooks: SilentHooks, job_ids: Sequence[JobId], alive: Sequence[JobId]) -> str:
        """What is asked to cancel some of these jobs, as text; who looks at jobs first cancels nothing by that."""
        asked: list[str] = []

        def answer(command: Command) -> str | Completed:
            if not (seen := self.cancel_answer(command, alive)):
                asked.append(" ".join([*command.argv, command.stdin]))
            return seen

        converse(hooks.cancel(job_ids=list(job_ids)), answer)
        return "\n".join(asked)

    def test_cancelling_ten_thousand_jobs_leaves_none_out(self) -> None:
        """However they are divided among commands."""
        hooks = SilentHooks(self.manager())
        ids = self.job_ids(10_000)
        asked = self._cancelling(hooks, ids, ids)
        for left_out in (0, len(ids) // 2, len(ids) - 1):
            fewer = [*ids[:left_out], *ids[left_out + 1 :]]
            assert asked != self._cancelling(hooks, fewer, ids), (
                f"{ids[left_out]} of {len(ids)} jobs is never cancelled"
            )

    def test_a_job_that_could_not_be_cancelled_is_told(self, hooks: SilentHooks) -> None:
        """What is said of jobs that are gone may be swallowed, and no line beside it.

        So is nothing of what was recorded as a failure (`failures`), or declared in `not_cancelled`.
        """
        for gone in self._recorded(CancelsGone):
            for answers in self._unwilling(gone):
                replies: list[Answer] = [*answers, *answers[-1:] * 100]
                ended = _end(hooks.cancel(job_ids=list(gone.ids)), one_by_one(replies))
                said = answers[-1].stdout + answers[-1].stderr
                assert isinstance(ended, CommandError), f"cancel swallows this; let the error come out:\n{said}"

    def _unwilling(self, gone: CancelsGone) -> Iterator[list[Completed]]:
        """Answers to a cancellation of some jobs of which one is still there."""
        recorded = gone.answers_from(self.transcripts)
        words = [each.format(id=gone.ids[0].text) + "\n" for each in STILL_THERE]
        for line in words:
            yield [Completed(returncode=1, stderr=line)]
            for said in GONE:
                excuse = said.format(id=gone.ids[-1].text) + "\n"
                for stderr in (excuse + line, line + excuse):
                    yield [Completed(returncode=1, stderr=stderr)]
        for index, answer in enumerate(recorded):
            if answer.returncode:
                for line in words:
                    for stderr in (answer.stderr + line, line + answer.stderr):
                        yield [*recorded[:index], evolve(answer, stderr=stderr)]
                # The same command's other reasons.
                if (refused := _REASON.sub(": permission denied", answer.stderr)) != answer.stderr:
                    yield [*recorded[:index], evolve(answer, stderr=refused)]
        known = {each for recording in self._recorded(CancelsGone) for each in recording.answers}
        for name, kind in self.failures.items():
            if kind is not None and name not in known:
                yield [transcript(self.transcripts / name)]
        for each in self.not_cancelled:
            yield [transcript(self.transcripts / each) if isinstance(each, str) else each]


def _end(conversation: Conversation[Any], answer: Callable[[Command], Answer]) -> Any:
    """What a conversation returned or raised."""
    try:
        return converse(conversation, answer)
    except (CommandError, ParseError) as error:
        return error


def _without_ids(command: Command) -> tuple[str, ...]:
    """``flux jobs``, ``qstat -f``: what is asked, of whichever jobs."""
    return tuple(word for word in command.argv if not re.search(r"\d", word))


def _repeats(command: Command, before: Sequence[Command]) -> bool:
    """True if it is one of the commands before, or hands over the script that one of them did."""
    return any(
        command.argv == each.argv or (command.stdin and command.stdin == each.stdin) or _script(command) & _script(each)
        for each in before
    )


def _script(command: Command) -> set[str]:
    """What may be a script, where it is not on standard input: a long word, or a variable with lines."""
    words = {word for argument in command.argv for word in argument.split() if len(word) >= _LONG}
    return words | {value for value in command.env.values() if len(value) >= _LONG or "\n" in value}


def _is_among(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _tokens(text: str) -> Counter[str]:
    return Counter(re.findall(r"[^\W_]+", _RANGE.sub(_only, text)))


#: From, to, and the step.
_RANGE = re.compile(r"\b(\d+)-(\d+):(\d+)\b")


def _only(match: re.Match[str]) -> str:
    """A range without its end where that is not of it: ``7-8:2`` is 7."""
    first, last, step = map(int, match.groups())
    return match[1] if first + step > last else match[0]


def _texts(job_ids: Sequence[JobId]) -> str:
    return " and ".join(job_id.text for job_id in job_ids)
