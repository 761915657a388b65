"""Laws about polls: all that is listed of the jobs that were asked for comes back, however many they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from corral.errors import CommandError, ParseError
from corral.plugin.values import Command, Completed, JobId, JobState, JobStatus
from corral.testing.driving import Answer, Mismatch, converse, drive
from corral.testing.laws.declared import Laws
from corral.testing.recordings import Polls
from corral.testing.silence import SilentHooks


class PollLaws(Laws):
    """Of `poll_status`."""

    def poll_answers(self, job_ids: Sequence[JobId]) -> Sequence[str | Completed] | None:
        r"""What `poll_status` of these jobs is answered, one by one: the last is a table with a recorded row for each.

        Where one line of a recorded table is all that is said of a job, with its id as it is, that line is copied.
        Redefine it where it is not. None: it cannot be told, and the law is skipped. ::

            def poll_answers(self, job_ids):
                return [Completed(stdout="".join(f"{job_id}|RUN|node01||dask-1\n" for job_id in job_ids))]
        """
        for poll in self._recorded(Polls):
            before: list[str | Completed] = []
            for answer in poll.answers_from(self.transcripts):
                for known, state in poll.states.items():
                    line = _line_of(answer.stdout, known, poll)
                    if line is not None and self._says_all([*before, "".join(_copies(*line, [known]))], known, state):
                        return [*before, "".join(_copies(*line, [job_id.text for job_id in job_ids]))]
                before.append(answer)
        return None

    def _says_all(self, answers: Sequence[str | Completed], known: str, state: JobState) -> bool:
        """Whether the state of one job can be read in a table without anything behind its line."""
        conversation = SilentHooks(self.manager()).poll_status(job_ids=[JobId(known)])
        try:
            found: dict[JobId, JobStatus] = drive(conversation, answers)
        except (CommandError, ParseError, Mismatch):
            return False
        return [status.state for status in found.values()] == [state]

    def test_a_poll_misses_no_job(self) -> None:
        """A recorded row, copied for 1, 10, 100 and 10,001 jobs, comes back for each; and all are asked for.

        The last of so many is in no portion that is full, and its number may be the first with five digits.
        """
        hooks = SilentHooks(self.manager())
        if self.poll_answers(self.job_ids(1)) is None:
            pytest.skip("no line of a recorded table is all that is said of a job: define poll_answers(self, job_ids)")
        for count in (1, 10, 100, 10_001):
            self._miss_none(hooks, self.job_ids(count))

    def _miss_none(self, hooks: SilentHooks, ids: Sequence[JobId]) -> None:
        asked = self._poll(hooks, ids)
        portions = _named(asked, ids)
        if sum(map(len, portions)) >= len(ids):
            # A batch system tells of those that it was asked for.
            if len([each for each in portions if each]) > 1:
                self._poll(hooks, ids, portions)
            return
        others = [job_id for job_id in ids if _array(job_id) != _array(ids[-1])]
        # Who names none of them lists all jobs.
        if others and any(portions) and self._poll(hooks, ids[:1]) != self._poll(hooks, ids[-1:]):
            fewer = self._poll(hooks, others)
            assert asked != fewer, f"{len(others)} of {len(ids)} jobs are asked for, and {ids[-1]} is not"

    def _poll(
        self, hooks: SilentHooks, ids: Sequence[JobId], portions: Sequence[Sequence[JobId]] = ()
    ) -> list[Command]:
        """Ask for these jobs; what was asked is returned. `portions` are those of which each command is told."""
        *before, table = self.poll_answers(ids) or ()
        asked: list[Command] = []

        def answer(command: Command) -> Answer:
            asked.append(command)
            number = len(asked) - 1
            if number < len(before):
                return before[number]
            told = portions[number] if number < len(portions) else ids
            return table if told is ids else (self.poll_answers(told) or [table])[-1]

        found: dict[JobId, JobStatus] = converse(hooks.poll_status(job_ids=list(ids)), answer)
        missing = [job_id for job_id in ids if job_id not in found]
        assert not missing, f"{len(missing)} of {len(ids)} jobs that were listed are lost: {missing[0]}, …"
        states = {status.state for status in found.values()}
        assert len(states) == 1, f"the same row is read as {' and '.join(sorted(state.value for state in states))}"
        return asked


#: What is before a row, the row, and a regular expression of the id in it.
_Line = tuple[str, str, str]


def _line_of(text: str, known: str, poll: Polls) -> _Line | None:
    """The only line that has the id of a job, and of no other job that was polled; None: there is no such line."""
    word = rf"(?<![\w.\[]){re.escape(known)}(?![\w.\[])"
    lines = text.splitlines(keepends=True)
    having = [line for line in lines if re.search(word, line)]
    # A small number may be a label, an exit code or a time, too.
    having = [line for line in having if re.match(rf"\s*{word}", line)] or having
    if len(having) != 1 or any(each in having[0] for each in poll.states if each not in known):
        return None
    row = having[0]
    # Other rows have another id in the same place.
    place, other = row.index(known), re.compile(re.sub(r"\d+", r"\\d+", re.escape(known)))
    head = [line for line in lines[: lines.index(row)] if not other.match(line, place)]
    return "".join(head), row, word


def _copies(head: str, row: str, word: str, texts: Sequence[str]) -> Iterator[str]:
    """A row with other ids; what stands in columns stays in its own as far as that is possible."""
    yield head
    pieces = [(each[0], each.span()) for each in re.finditer(f"{word} *", row)]
    for text in texts:
        copy, done = "", 0
        for known, (begin, end) in pieces:
            padded = text.ljust(len(known) - 1) + " " if known.endswith(" ") else text
            copy, done = copy + row[done:begin] + padded, end
        yield copy + row[done:]


def _array(job_id: JobId) -> str:
    """The first word of an id: its array's, or its own."""
    found = re.search(r"[^\W_]+", job_id.text)
    return found[0] if found else job_id.text


def _named(asked: Sequence[Command], ids: Sequence[JobId]) -> list[list[JobId]]:
    """Of each command the jobs that it names, or whose array."""
    by_array: dict[str, list[JobId]] = {}
    for job_id in ids:
        by_array.setdefault(_array(job_id), []).append(job_id)
    portions = []
    for command in asked:
        words = set(re.findall(r"[^\W_]+", " ".join([*command.argv, command.stdin])))
        portions.append([job_id for array, its in by_array.items() if array in words for job_id in its])
    return portions
