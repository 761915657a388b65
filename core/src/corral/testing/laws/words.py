"""The law about a batch system's words: what a backend makes of each was seen, or is said never to have been."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import pytest

from corral.errors import CommandError, ParseError
from corral.plugin.values import JobState, JobStatus
from corral.testing.driving import Answer, converse, one_by_one
from corral.testing.laws.declared import Laws
from corral.testing.recordings import Polls
from corral.testing.silence import SilentHooks

_NOTHING: Answer = ""


class WordLaws(Laws):
    """Of the words for states."""

    def test_every_state_word_was_seen_or_is_said_not_to_be(self) -> None:
        """Each word in a table of `JobState` is in the answers of one of the `Polls`, or in `never_seen`."""
        if self._is_variation():
            pytest.skip("the answers of the class that it derives from are more")
        plugin = self.manager().get_plugin(self.backend)
        with _watched_tables(type(plugin)) as (tables, used):
            native = {status.native for status in self._polled()}
        words = {str(word) for table in tables for word in table} | set(self.state_words)
        assert words, (
            "no table of words was found, as `STATES = {'RUN': JobState.RUNNING}` in the plugin's modules would be. "
            "Declare its words: `state_words = ('RUN', …)`"
        )
        seen = {str(word) for word in used} | (native & set(self.state_words))
        unseen = words - seen - set(self.never_seen)
        assert not unseen, (
            f"nobody knows whether {self.backend} prints {sorted(unseen)}, or whether that means what the plugin says. "
            "Record a poll with each of these words, and declare it as one of the Polls; those that nobody could "
            f"provoke: `never_seen = {tuple(sorted(unseen))}`"
        )
        assert not (known := set(self.never_seen) & seen), f"{sorted(known)} was seen: take it out of `never_seen`"
        strange = set(self.never_seen) - words
        assert not strange, f"{sorted(strange)} of `never_seen` is in none of the plugin's tables"

    def _polled(self) -> Iterator[JobStatus]:
        hooks = SilentHooks(self.manager())
        script = hooks.render_script(job=hooks.prepare_job(job=self.job))
        for poll in self._recorded(Polls):
            answers: list[Answer] = [*poll.answers_from(self.transcripts), *[_NOTHING] * 100]
            # That it is read as declared is another law's.
            with suppress(CommandError, ParseError):
                yield from converse(self._ask(hooks, script, poll), one_by_one(answers)).values()

    def _is_variation(self) -> bool:
        """The same plugin's recordings, or fewer of them, are those of a class that this one derives from."""
        declaring = [cls for cls in type(self).__mro__ if vars(cls).get("recordings")]
        return len(declaring) > 1


class _Watched(dict[Any, JobState]):
    """A table that knows which of its words were looked up."""

    def __init__(self, table: Mapping[Any, JobState], used: set[Any]) -> None:
        super().__init__(table)
        self._used = used

    def __getitem__(self, word: Any) -> JobState:
        state = super().__getitem__(word)
        self._used.add(word)
        return state

    def get(self, word: Any, default: Any = None) -> Any:
        try:
            return self[word]
        except KeyError:
            return default


@contextmanager
def _watched_tables(plugin: type) -> Iterator[tuple[list[Mapping[Any, JobState]], set[Any]]]:
    """The tables of states in a plugin's class and in the modules beside it, and which words are looked up there."""
    used: set[Any] = set()
    tables: dict[int, Mapping[Any, JobState]] = {}
    package = plugin.__module__.partition(".")[0]
    beside = [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and (name == plugin.__module__ or name.startswith(package + "."))
        if ".testing" not in name
        and (package != "corral" or name.startswith(plugin.__module__.rpartition(".")[0] + "."))
    ]
    with pytest.MonkeyPatch.context() as patch:
        for owner in (*beside, *(cls for cls in plugin.__mro__ if cls is not object)):
            for name, value in list(vars(owner).items()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()  # what is remembered is not looked up
                if _is_table(value):
                    tables.setdefault(id(value), value)
                    patch.setattr(owner, name, _Watched(value, used))
        yield list(tables.values()), used


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(state, JobState) for state in value.values())
