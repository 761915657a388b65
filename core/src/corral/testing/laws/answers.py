"""Laws about answers: what a batch system printed means what it means, whatever stands around it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import CommandError, ParseError
from corral.plugin import parsing
from corral.plugin.values import Command, Completed, Failure, JobId, JobState, JobStatus, Script
from corral.testing.driving import Answer, converse, drive, noted, one_by_one, transcript
from corral.testing.garbage import FOREIGN, garbled
from corral.testing.laws.declared import Laws, by_property
from corral.testing.recordings import Finds, Polls, Recording, Submits
from corral.testing.silence import SilentHooks

BANNERS = ["*** 2 GPUs at most per user ***\n", "Job quota: 77 of 500\nJob 12 was yours.\n"]

#: What a failed command may have printed, and no batch system has ever meant anything by.
NOBODY_KNOWS = [
    "",
    "the dog ate it\n",
    "error 77\n",
    "error: an error has occurred\n",
    "Error: the dog ate it\n",
    "ERROR: the dog ate it\n",
    "sh: 1: the dog: not found\n",
    "WARNING: maintenance on Monday. 3 of 500 jobs are yours\n",
    "Traceback (most recent call last):\n  File \"x\", line 1, in <module>\nKeyError: 'dog'\n",
    *FOREIGN,
]


#: Makes another word of one that is known.
_ENDING = "ISH"


class AnswerLaws(Laws):
    """Of what a batch system prints."""

    def test_an_answer_means_what_was_recorded(self, hooks: SilentHooks, script: Script, recording: Recording) -> None:
        """Each recorded answer of the real batch system is read as declared."""
        recording.is_right(drive(self._ask(hooks, script, recording), recording.answers_from(self.transcripts)))

    @pytest.mark.parametrize("banner", BANNERS)
    def test_a_banner_never_changes_an_id(self, hooks: SilentHooks, script: Script, banner: str) -> None:
        """Sites wrap the submit command and print what they like before its answer."""
        for submission in self._recorded(Submits):
            answers = [
                evolve(answer, stdout=banner + answer.stdout, stderr=banner + answer.stderr)
                for answer in submission.answers_from(self.transcripts)
            ]
            submission.is_right(drive(self._ask(hooks, script, submission), answers))

    def test_an_unknown_word_is_a_living_job(self, hooks: SilentHooks) -> None:
        """A state that nobody knows is UNKNOWN, and the word is kept; so is one that begins like a known one."""
        job_id = JobId(self.unknown_word.job_id)
        answers = self.unknown_word.answers_from(self.transcripts)
        status = drive(hooks.poll_status(job_ids=[job_id]), answers)[job_id]
        assert status.state is JobState.UNKNOWN
        assert status.native, "the batch system's own word is lost"
        assert status.native in self.unknown_word.unknown
        # In the same place, as far as that shows.
        before = self.unknown_word.unknown.partition(status.native)[0]
        word = re.match(r"[A-Za-z]{3,}", self.unknown_word.known.removeprefix(before))
        if word is not None and self.unknown_word.known.startswith(before):
            longer = f"{before}{word[0]}{_ENDING}{self.unknown_word.known[len(before) + word.end() :]}"
            like = evolve(self.unknown_word, unknown=longer).answers_from(self.transcripts)
            read = converse(hooks.poll_status(job_ids=[job_id]), one_by_one([*like, *[""] * 100])).get(job_id)
            assert read is None or read.state is JobState.UNKNOWN, (
                f"{word[0]}{_ENDING}, which nobody knows, is read as {read.state.name}: compare whole words"
            )

    def test_a_garbled_row_blinds_no_poll(
        self, hooks: SilentHooks, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A row that cannot be read is passed over, and told once; the others mean what they meant."""
        garbled = self.garbled_row
        poll = next(each for each in self._recorded(Polls) if each.answers == garbled.answers)
        spoilt = JobId(garbled.job_id)
        nothing_more: list[Answer] = [""] * 100

        def ask(answers: Sequence[Answer]) -> dict[JobId, JobStatus]:
            found: dict[JobId, JobStatus] = converse(
                self._ask(hooks, script, poll), one_by_one([*answers, *nothing_more])
            )
            return found

        before = ask(poll.answers_from(self.transcripts))
        assert spoilt in before, f"{poll} does not find {spoilt}"
        parsing.tell_again()
        found = [ask(garbled.answers_from(self.transcripts)) for _ in range(2)]
        others = {job_id: status for job_id, status in before.items() if job_id != spoilt}
        assert others, f"{poll} finds no other job"
        for after in found:
            status = after.pop(spoilt, None)
            assert status is None or status.state is JobState.UNKNOWN, f"the garbled row is read as {status}"
            assert others == after
        told = [record for record in caplog.records if "passed over" in record.getMessage()]
        assert len(told) == 1, "what is passed over is told once"

    @by_property
    @given(choice=st.data())
    def test_garbage_raises_parse_error_and_nothing_else(
        self, hooks: SilentHooks, script: Script, talk: Recording, choice: st.DataObject
    ) -> None:
        """An answer that was cut, shuffled or replaced is refused, or read as something that could be."""
        answers = talk.answers_from(self.transcripts)
        broken = choice.draw(st.integers(0, len(answers) - 1), label="which answer")
        text = choice.draw(garbled(answers[broken].stdout), label="what it said")
        answers[broken] = evolve(answers[broken], stdout=text, stderr=text if answers[broken].returncode else "")
        try:
            result = converse(self._ask(hooks, script, talk), one_by_one([*answers, *[""] * 100]))
        except (ParseError, CommandError):
            return
        talk.is_possible(result)

    @pytest.mark.parametrize("text", FOREIGN)
    @pytest.mark.parametrize("hook", ["submit", "poll_status", "find_jobs"])
    def test_an_answer_without_a_row_is_a_parse_error(
        self, hooks: SilentHooks, script: Script, hook: str, text: str
    ) -> None:
        """What is no answer must not be read as: nothing is there."""
        for recording in self.recordings:
            if recording.hook == hook:
                with pytest.raises(ParseError) as caught:
                    converse(self._ask(hooks, script, recording), lambda _: text)
                assert text.strip() in caught.value.text

    @pytest.mark.parametrize("hook", ["poll_status", "find_jobs"])
    def test_an_empty_answer_is_no_parse_error(self, hooks: SilentHooks, script: Script, hook: str) -> None:
        """An empty table lists no job."""
        for recording in self.recordings:
            if recording.hook == hook:
                assert not converse(self._ask(hooks, script, recording), lambda _: "")

    def test_jobs_are_found_by_their_name_and_by_its_beginning(self, hooks: SilentHooks, script: Script) -> None:
        """After a submission that timed out by the whole name; what a killed cluster left by what its names share."""
        found = [each for each in self._recorded(Finds) if each.ids]
        assert [each for each in found if not each.name.endswith("*")], "record a Finds of a whole name"
        by_beginning = [each for each in found if each.name.endswith("*")]
        assert by_beginning, "record a Finds whose name ends in *"
        for recording in by_beginning:
            # The same answers: what is no such name must not be taken for one.
            answers = recording.answers_from(self.transcripts)
            for other in (recording.name.swapcase(), f"{recording.name[:-1]}\N{SNOWMAN}*", f"x{recording.name}"):
                strangers = converse(hooks.find_jobs(name=other), one_by_one([*answers, *[""] * 100]))
                assert not set(strangers) & set(recording.ids), other
            # Without the star it is a whole name, and that of none of them; whoever asks for it is told so.
            whole = recording.name[:-1]
            asked: list[Command] = []
            replies = one_by_one([*answers, *[""] * 100])
            strangers = converse(hooks.find_jobs(name=whole), noted(asked, replies))
            is_asked = any(whole in " ".join([*each.argv, each.stdin]) for each in asked)
            assert is_asked or not set(strangers) & set(recording.ids), f"{whole!r} is no job's name, and finds some"

    def test_a_submission_without_an_answer_is_a_parse_error(self, hooks: SilentHooks, script: Script) -> None:
        """It was accepted, but nobody knows as what."""
        for submission in self._recorded(Submits):
            with pytest.raises(ParseError):
                converse(self._ask(hooks, script, submission), lambda _: "")

    def test_failures_are_classified_as_recorded(self, hooks: SilentHooks) -> None:
        """What the batch system prints when it fails means what was declared."""
        for name, kind in self.failures.items():
            classified = hooks.classify_failure(completed=transcript(self.transcripts / name))
            assert (name, kind) == (name, classified and classified.kind)

    @pytest.mark.parametrize("text", NOBODY_KNOWS)
    def test_a_failure_that_nobody_knows_is_none(self, hooks: SilentHooks, text: str) -> None:
        """What to do about an unknown failure is the core's to say: it treats a submission otherwise than a poll."""
        for code in (1, 13, 255):
            for out, errors in (("", text), (text, "")):
                completed = Completed(argv=["x"], returncode=code, stdout=out, stderr=errors)
                failure = hooks.classify_failure(completed=completed)
                assert failure is None, (
                    f"classify_failure takes {text!r} (exit code {code}) for {failure.kind.name}. Return None unless "
                    "the words are those of one message that your batch system was seen to print"
                )

    @by_property
    @given(text=st.text() | st.sampled_from(FOREIGN), code=st.integers(1, 255))
    def test_every_failure_can_be_classified(self, hooks: SilentHooks, text: str, code: int) -> None:
        """Whatever a failed command printed, `classify_failure` does not fail."""
        completed = Completed(argv=["x"], returncode=code, stdout=text, stderr=text)
        assert isinstance(hooks.classify_failure(completed=completed), Failure | None)
