"""How many commands one user may run in a minute on one host, over all processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from attrs import frozen

from corral.host.shared import BUSY, Board, Shared
from corral.text.logs import logger_of

logger = logger_of("corral.batch.polling")

MINUTE = 60.0
#: Questions always have one in so many commands, whatever acts take.
SHARE = 5
#: Urgent questions to one batch system are so far apart (s): what happens to many clusters at once is one question.
APART = 1.5
#: What the ledger of a whole minute may hold at most.
_LONGEST = 5_000
_LEDGER = "commands.json"


class Kind(StrEnum):
    """What a command is for."""

    #: A person waits for it: never waits.
    ACT = "act"
    #: A lost job is replaced: never waits either.
    REPLACEMENT = "replacement"
    #: A cancellation once more: nobody waits for it, so it waits for room.
    AGAIN = "again"
    #: The first command of a question; waits for room.
    QUESTION = "question"
    #: The same, where something is amiss: a worker has vanished, a job has told its end.
    URGENT = "urgent"
    #: An urgent question that was let through although there was no room.
    SPARE = "spare"
    #: A further command of something that has begun: never waits.
    MORE = "more"


_QUESTIONS = (Kind.QUESTION, Kind.URGENT, Kind.SPARE)


@frozen
class Entry:
    """One command."""

    moment: float
    kind: Kind
    #: The batch system that was asked, for questions; see `Watch`.
    key: str = ""


def wait_for_room(entries: Iterable[Entry], now: float, kind: Kind, per_minute: int, key: str = "") -> float:
    """Seconds until a command of this kind may be run; 0: now.

    A question waits while there were four fifths of `per_minute` commands within the last minute; an urgent one, until
    all are used. But a fifth is always its batch system's, whatever acts, and clusters with another limit, have taken,
    and another fifth its urgent questions'. And the first question after an act is the act's: it does not wait either
    while these two are not used up.
    """
    if kind in (Kind.ACT, Kind.REPLACEMENT, Kind.MORE):
        return 0.0
    recent = [entry for entry in entries if now - MINUTE < entry.moment <= now]
    share = max(1, per_minute // SHARE)
    if kind is Kind.AGAIN:
        return _wait(_moments(recent), now, max(1, per_minute - share))
    questions = [entry for entry in recent if entry.kind in _QUESTIONS and entry.key == key]
    if kind is Kind.URGENT:
        apart = questions[-1].moment + APART - now if questions else 0.0
        spare = [entry for entry in questions if entry.kind is Kind.SPARE]
        return max(0.0, apart, min(_wait(_moments(recent), now, per_minute), _wait(_moments(spare), now, share)))
    last_act = max((entry.moment for entry in recent if entry.kind is Kind.ACT), default=0.0)
    if questions and questions[-1].moment < last_act and len(questions) < 2 * share:
        return 0.0
    return min(_wait(_moments(recent), now, max(1, per_minute - share)), _wait(_moments(questions), now, share))


def _moments(entries: Iterable[Entry]) -> list[float]:
    return sorted(entry.moment for entry in entries)


def _wait(moments: list[float], now: float, limit: int) -> float:
    return 0.0 if len(moments) < limit else max(0.05, moments[-limit] + MINUTE - now)


class CommandBudget:
    """The ledger of commands. Acts are written down and never wait, so that questions make room for them."""

    def __init__(self, per_minute: int, shared: Shared | None = None) -> None:
        self.per_minute = per_minute
        self.shared = Shared.of_this_host() if shared is None else shared

    async def wait(self, kind: Kind = Kind.QUESTION) -> None:
        """Write a command down as soon as there is room for it, and return."""
        while delay := await asyncio.to_thread(self._enter, kind):
            logger.debug("at most %d commands a minute: waiting %.1f s", self.per_minute, delay)
            # Not longer: another process may have ended, or the ledger be begun anew.
            await asyncio.sleep(min(delay, 5.0))

    def _enter(self, kind: Kind) -> float:
        with self.shared.locked() as board:
            if board.is_busy:
                # What need not wait does not, even if the others cannot know of it.
                return BUSY if kind in (Kind.AGAIN, Kind.QUESTION, Kind.URGENT) else 0.0
            return self.enter(board, kind)

    def enter(self, board: Board, kind: Kind, key: str = "") -> float:
        """Write a command down, if there is room for it; else return the seconds after which there may be."""
        now = self.shared.now()
        entries = [entry for entry in _entries(board.read(_LEDGER)) if now - MINUTE < entry.moment <= now]
        delay = wait_for_room(entries, now, kind, self.per_minute, key)
        if kind is Kind.URGENT and len(entries) >= self.per_minute:
            kind = Kind.SPARE
        if not delay:
            entries = [*entries, Entry(now, kind, key)][-_LONGEST:]
            board.write(_LEDGER, {"commands": [[entry.moment, entry.kind, entry.key] for entry in entries]})
        return delay


def _entries(content: dict[str, Any]) -> list[Entry]:
    found = []
    try:
        for moment, kind, key in content.get("commands", ()):
            found.append(Entry(float(moment), Kind(kind), str(key)))
    except (TypeError, ValueError):
        return []
    return found
