"""Laws about commands: what a hook may ask for, and what it makes of their failure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import pytest

from corral.errors import CommandError, CommandNotFound, CommandTimedOut, InvalidRequest, ParseError
from corral.plugin import discovery
from corral.plugin.conversations import IN_A_ROW
from corral.plugin.values import Command, Completed, Conversation, Script
from corral.testing.driving import Answer, Mismatch, completed_or_error, converse, one_by_one
from corral.testing.installed import installed_plugins
from corral.testing.laws.declared import Laws
from corral.testing.recordings import Recording, Submits
from corral.testing.silence import SilentHooks

#: The kernel's limit for one argument; ssh makes one of a whole command.
ARGUMENTS_LIMIT = 128 * 1024

SHELLS = {"sh", "bash", "dash", "ksh", "zsh", "csh", "tcsh"}

#: What can go wrong with any command, and no hook can know beforehand.
TROUBLES: dict[str, Answer] = {
    "time-out": CommandTimedOut,
    "not found": CommandNotFound,
    "unknown failure": Completed(returncode=13, stderr="the dog ate it\n"),
}

#: A site's own words, where it refuses arrays.
_NO_ARRAYS = Completed(returncode=1, stderr="job arrays are not allowed on this machine\n")


class CommandLaws(Laws):
    """Of all hooks that talk."""

    def test_commands_are_argument_lists(self, hooks: SilentHooks, script: Script, talk: Recording) -> None:
        """A command is a program and its arguments: text without NUL, never a line for a shell."""
        answers = iter(talk.answers_from(self.transcripts))
        for command in _commands(self._ask(hooks, script, talk), lambda _: next(answers)):
            check_command(command)

    @pytest.mark.parametrize("hook", ["poll_status", "cancel"])
    def test_ten_thousand_jobs_need_few_commands(self, hooks: SilentHooks, hook: str) -> None:
        """Batch systems are asked about all jobs at once, with arguments that the kernel takes."""
        conversation = getattr(hooks, hook)(job_ids=self.job_ids(10_000))
        commands = _commands(conversation, lambda _: "")
        assert commands, f"{hook} asks nothing"
        assert len(commands) <= self.most_commands, (
            f"{hook} needs {len(commands):,} commands for 10,000 jobs: name many of them in each. Where a command "
            "takes no more than one, declare `most_commands`"
        )
        for command in commands:
            check_command(command)

    def test_a_submission_comes_in_portions(self, hooks: SilentHooks, script: Script) -> None:
        """Of a thousand jobs, no more are submitted in a row than a person can wait for; the core calls again."""
        for submission in self._recorded(Submits):
            answers = submission.answers_from(self.transcripts)
            most = IN_A_ROW + len(answers)
            replies: list[Answer] = [*answers, *answers[-1:] * most]
            with suppress(CommandError, ParseError):
                try:
                    converse(hooks.submit(script=script, count=1000), one_by_one(replies[: most + 1]))
                except Mismatch:
                    pytest.fail(
                        f"submit(count=1000) runs more than {most} commands in a row. Until it returns, its jobs are "
                        "unknown, and none of them can be cancelled: return what has been submitted after some; "
                        "corral.plugin.one_by_one does that"
                    )

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_is_never_swallowed(
        self, hooks: SilentHooks, script: Script, talk: Recording, trouble: str
    ) -> None:
        """A command that hangs, is missing or fails for unknown reasons is reported, or made up for."""
        answers = talk.answers_from(self.transcripts)
        for healthy in range(len(answers)):
            replies = [*answers[:healthy], *[TROUBLES[trouble]] * 100]
            try:
                result = converse(self._ask(hooks, script, talk), one_by_one(replies))
            except CommandError:
                continue
            talk.is_honest(result)

    def test_where_arrays_are_refused_each_job_is_submitted_alone(self) -> None:
        """A site refuses them in words of its own: then the same is done as with the option ``arrays=False``."""
        if self.alone is None:
            with pytest.raises(InvalidRequest, match="arrays"):
                discovery.load(self.backend, options={**self.options, "arrays": False}, among=installed_plugins())
            pytest.skip("it has no such option")
        asked = [self._alone(arrays=True, before=[_NO_ARRAYS])[1:], self._alone(arrays=False)]
        assert asked[0] == asked[1]
        assert len(asked[1]) == len(self.alone.ids)

    def _alone(self, *, arrays: bool, before: Sequence[Answer] = ()) -> list[Command]:
        """The commands that submit jobs alone; `before` is what is answered before the first is accepted."""
        assert self.alone is not None
        hooks = SilentHooks(self.manager(arrays=arrays))
        script = hooks.render_script(job=hooks.prepare_job(job=self.job))
        answer = one_by_one([*before, *self.alone.answers_from(self.transcripts)])
        asked: list[Command] = []

        def ask(command: Command) -> Answer:
            asked.append(command)
            return answer(command)

        assert list(self.alone.ids) == converse(hooks.submit(script=script, count=len(self.alone.ids)), ask)
        return asked

    def test_a_conversation_can_be_left(self, hooks: SilentHooks, script: Script, talk: Recording) -> None:
        """Closing it while a command runs ends it: it asks nothing more."""
        answers = talk.answers_from(self.transcripts)
        for healthy in range(len(answers)):
            conversation = self._ask(hooks, script, talk)
            command = next(conversation)
            for answer in answers[:healthy]:
                reply = completed_or_error(command, answer)
                command = conversation.send(reply) if isinstance(reply, Completed) else conversation.throw(reply)
            conversation.close()


def _commands(conversation: Conversation[Any], answer: Callable[[Command], Answer]) -> list[Command]:
    """The commands that a conversation asks for."""
    asked: list[Command] = []

    def ask(command: Command) -> Answer:
        asked.append(command)
        return answer(command)

    converse(conversation, ask)
    return asked


def check_command(command: Command) -> None:
    """Fail unless this is a program and its arguments, as the kernel takes them."""
    assert type(command) is Command
    assert command.argv
    assert all(type(word) is str for word in command.argv)
    assert not [word for word in command.argv if "\0" in word], "an argument has a NUL"
    program = command.argv[0]
    assert len(program.split()) == 1, f"{program!r} is a shell line: give its words one by one"
    is_line = PurePath(program).name in SHELLS and command.argv[1:2] == ("-c",)
    assert not is_line, f"{shlex.join(command.argv)} is a shell line: run the program itself"
    assert sum(len(word.encode()) + 1 for word in command.argv) < ARGUMENTS_LIMIT, "too many arguments"
