"""Laws about the backend: with the site around it, its hooks do what they do alone.

What its batch system was asked and answered comes with the backend's distribution.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from attrs import frozen

from corral.errors import CommandError, CommandFailed, ParseError
from corral.plugin.validation import HOOKS
from corral.plugin.values import Command, Job, Script
from corral.testing.conformance import BackendConformance
from corral.testing.driving import Answer, converse, one_by_one, transcript
from corral.testing.installed import installed_plugins
from corral.testing.laws.commands import TROUBLES, check_command
from corral.testing.recordings import Inside, Recording
from corral.testing.shipped import laws_of
from corral.testing.silence import SilentHooks
from corral.testing.site_laws.declared import Prepared, SiteLaws, options_of

#: The hooks that talk.
TALKS = [name for name, spec in HOOKS.items() if spec.is_conversation]


@frozen(kw_only=True)
class Talk:
    """What a hook asked in the course of a conversation, and how that ended."""

    asked: tuple[Command, ...]
    #: What it returned, or the error's type and words.
    ended: Any


class TalkLaws(SiteLaws):
    """Of all hooks but `prepare_job`."""

    @pytest.fixture
    def laws(self, house: Any) -> type[BackendConformance]:
        """What the backend brings of its own laws."""
        laws = laws_of(house.backend, options_of(house), installed_plugins())
        if laws is None:
            pytest.skip(f"the backend {house.backend!r} brings no recordings: it has no module `testing`")
        return laws

    @pytest.fixture
    def script(self, prepared: list[Prepared], through: SilentHooks) -> Script:
        """A script to submit: of the first request that the site takes."""
        script: Script = through.render_script(job=prepared[0].through)
        return script

    @pytest.mark.parametrize("hook", TALKS)
    def test_a_hook_asks_and_answers_as_without_the_site(
        self, house: Any, laws: type[BackendConformance], script: Script, hook: str
    ) -> None:
        """For each recorded conversation: the same commands, but for what `command` says, and the same answer."""
        if hook in self.own_answers:
            pytest.skip("the site answers it in its own way")
        both = self._both(house, laws)
        for recording in laws.recordings:
            if recording.hook == hook:
                answers: list[Answer] = list(recording.answers_from(laws.transcripts))
                talks = [_talk(hooks, laws, recording, script, answers) for hooks in both]
                self._compare(talks, recording, "")

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_reaches_the_backend(
        self, house: Any, laws: type[BackendConformance], script: Script, trouble: str
    ) -> None:
        """A command that hangs, is missing or fails does so for the backend: it may know what to do."""
        both = self._both(house, laws)
        answers: list[Answer] = [TROUBLES[trouble]] * 100
        for hook, recording in {each.hook: each for each in laws.recordings}.items():
            if hook not in self.own_answers:
                talks = [_talk(hooks, laws, recording, script, answers) for hooks in both]
                self._compare(talks, recording, f", {trouble}")

    def test_failures_mean_what_they_mean(self, house: Any, laws: type[BackendConformance]) -> None:
        """A site may know its own words; those of the batch system keep their meaning."""
        alone, through = self._both(house, laws)
        for name, kind in laws.failures.items():
            completed = transcript(laws.transcripts / name)
            before, after = (hooks.classify_failure(completed=completed) for hooks in (alone, through))
            if kind is not None:
                assert after is not None, f"{name} means {kind}, and with the site nothing"
                assert before.kind == after.kind, f"{name} means {before.kind}, and with the site {after.kind}"

    def test_launching_reaches_the_same_hosts(self, house: Any, laws: type[BackendConformance]) -> None:
        """Inside a job: the same command on every host, whatever the site sets before it."""
        words = ["printf", "%s", "two words", "$HOME"]
        alone, through = self._both(house, laws)
        for inside in laws.recordings:
            if isinstance(inside, Inside):
                answers = one_by_one(inside.answers_from(laws.transcripts))
                allocation = converse(inside.ask(alone, Script(name="", body=""), laws.transcripts), answers)
                before, after = (
                    hooks.launch_command(allocation=allocation, command=words) for hooks in (alone, through)
                )
                assert len(before) == len(after), f"{inside}: {len(before)} commands became {len(after)}"
                for one, other in zip(before, after, strict=True):
                    assert _has_in_order(other, one), f"{inside}: {one} became {other}"

    # --- scripts -------------------------------------------------------------------------------------------------

    def test_a_script_has_all_that_the_backend_writes(
        self, prepared: list[Prepared], alone: SilentHooks, through: SilentHooks
    ) -> None:
        """For each request: a site that writes into the script takes nothing out of it."""
        for each in prepared:
            before, after = (hooks.render_script(job=each.through) for hooks in (alone, through))
            for name in ("name", "shebang", "log"):
                assert getattr(before, name) == getattr(after, name), f"the script's {name}"
            assert _has_in_order(after.directives, before.directives), "directives are lost, or in another order"
            assert _has_in_order(after.body.splitlines(), before.body.splitlines()), "lines of the script are lost"

    def test_a_script_says_what_was_prepared(self, prepared: list[Prepared], through: SilentHooks) -> None:
        """`parse_resources` reads the queue, the account and the walltime that were prepared."""
        for job in (each.through for each in prepared):
            with contextlib.suppress(ParseError):
                read: Job = through.parse_resources(text=str(through.render_script(job=job)))
                for name in ("name", "queue", "account", "walltime"):
                    said = getattr(read, name)
                    assert said is None or said == getattr(job, name), f"{name} is read as {said!r}"

    def test_a_script_is_one(self, prepared: list[Prepared], through: SilentHooks) -> None:
        """For each kind of request, bash finds no fault in it."""
        seen: set[str] = set()
        for each in prepared:
            script = through.render_script(job=each.through)
            lines = "\n".join(sorted(set(script.body.splitlines())))
            if lines not in seen and len(seen) < 3:
                seen.add(lines)
                text = f"{script.shebang}\n{script.body}"
                checked = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, check=False)
                assert (checked.returncode, checked.stderr) == (0, b""), text

    # --- how -----------------------------------------------------------------------------------------------------

    def _both(self, house: Any, laws: type[BackendConformance]) -> tuple[SilentHooks, SilentHooks]:
        """The backend's hooks alone and through the site, with the options with which it was recorded.

        New ones: a backend remembers what it was refused.
        """
        options = {**laws.options, **options_of(house)}
        return self.hooks(house, with_site=False, options=options), self.hooks(house, options=options)

    def _compare(self, talks: Sequence[Talk], recording: Recording, case: str) -> None:
        (alone, through), what = talks, f"{recording}{case}"
        # A job asks about itself where it is.
        is_inside = recording.hook == "read_allocation"
        expected = [command if is_inside else self.command(command) for command in alone.asked]
        for command, other in itertools.zip_longest(expected, through.asked):
            cure = "" if is_inside else " If that is meant, redefine command()"
            assert command == other, f"{what}: it is not the backend's command.{cure}"
            check_command(other)
        assert alone.ended == through.ended, f"{what}: with the site it ends otherwise"


def _talk(
    hooks: SilentHooks, laws: type[BackendConformance], recording: Recording, script: Script, answers: Sequence[Answer]
) -> Talk:
    asked: list[Command] = []
    rest = one_by_one(answers)

    def answer(command: Command) -> Answer:
        asked.append(command)
        return rest(command)

    ended: Any
    try:
        ended = converse(recording.ask(hooks, script, laws.transcripts), answer)
    except CommandFailed as error:
        ended = (CommandFailed, error.completed.returncode, error.completed.stdout, error.completed.stderr)
    except (CommandError, ParseError) as error:
        ended = type(error)
    return Talk(asked=tuple(asked), ended=ended)


def _has_in_order(all_of: Iterable[object], some: Iterable[object]) -> bool:
    """True if `some` are in `all_of`, one after the other."""
    rest = iter(all_of)
    return all(each in rest for each in some)
