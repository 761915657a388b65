"""When to ask a batch system, and how seldom: what administrators accept.

Two parts: the rhythm of one cluster's questions (`Rhythm`), and one question for all clusters of a user on a host
(`Watch`). How many commands there may be is the ledger's business (`corral.batch.budget`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, Self

from attrs import evolve, field, fields, frozen

from corral.batch.budget import CommandBudget, Kind
from corral.errors import BatchSystemUnavailable
from corral.host.shared import BUSY, Board, Shared
from corral.plugin.values import JobId, JobState, JobStatus

logger = logging.getLogger("corral.batch.polling")

#: Seconds after a change at which jobs are polled, and the pace when nothing changes.
AFTER_CHANGE = (2.0, 5.0, 10.0, 20.0)
AT_REST = 60.0
#: The pace while all jobs are connected: launchers and workers report by themselves.
ALL_CONNECTED = 600.0
#: An answer that is asked for so little before an urgent question is due serves it as well (s).
_SLACK = 0.5


class Rhythm:
    """The moments at which one cluster wants to know: soon and often after a change, slowly when things rest.

    Moments are seconds on the clock of whoever calls.
    """

    def __init__(
        self,
        *,
        after_change: Sequence[float] = AFTER_CHANGE,
        at_rest: float = AT_REST,
        all_connected: float = ALL_CONNECTED,
    ) -> None:
        self.after_change = after_change
        self.at_rest = at_rest
        self.all_connected = max(at_rest, all_connected)
        #: True while every job reports by itself.
        self.is_connected = False
        self._changed_at = 0.0
        self._polled_at: float | None = None
        self._urgent_at: float | None = None

    @classmethod
    def often(cls) -> Self:
        """For a batch system that nobody shares."""
        return cls(after_change=(0.3, 1.0, 2.0, 5.0, 10.0), at_rest=10.0, all_connected=10.0)

    def changed(self, now: float) -> None:
        """Something happened: begin again with short intervals."""
        self._changed_at = now

    def urgent(self, at: float) -> None:
        """A question that cannot wait, at that moment."""
        self._urgent_at = at if self._urgent_at is None else min(at, self._urgent_at)

    def polled(self, asked_at: float) -> None:
        """Everything is known that could be known at that moment."""
        self._polled_at = asked_at if self._polled_at is None else max(asked_at, self._polled_at)
        if self._urgent_at is not None and self._urgent_at <= asked_at + _SLACK:
            self._urgent_at = None

    def due(self) -> float:
        """When to ask next."""
        due, _ = self._next()
        return due if self._urgent_at is None else min(due, self._urgent_at)

    def is_urgent(self, now: float) -> bool:
        """Whether what is due now cannot wait."""
        return self._urgent_at is not None and self._urgent_at <= now

    def oldest(self, now: float) -> float:
        """An answer that was asked for at this moment or later, by whomever, serves for what is due now."""
        due, oldest = self._next()
        if self._urgent_at is not None and self._urgent_at <= now:
            return self._urgent_at - _SLACK if due > now else max(oldest, self._urgent_at - _SLACK)
        return oldest

    def _next(self) -> tuple[float, float]:
        """When the next question of the rhythm is due, and since when an answer serves in its stead."""
        last = self._changed_at if self._polled_at is None else self._polled_at
        before = self._changed_at
        for seconds in self.after_change:
            step = self._changed_at + seconds
            if (oldest := (before + step) / 2) > last:
                return step, oldest
            before = step
        last = max(last, before)
        pause = self.all_connected if self.is_connected else self.at_rest
        return last + pause, last + pause / 2


@frozen(kw_only=True)
class Answer:
    """What the batch system said, to whoever asked."""

    #: On the watch's clock.
    asked_at: float
    #: Whom it was asked about. Those of them that are not in `jobs` were not listed.
    asked: frozenset[JobId]
    jobs: Mapping[JobId, JobStatus]

    def about(self, job_ids: Iterable[JobId]) -> Answer:
        """The part of it that concerns these jobs."""
        asked = self.asked & frozenset(job_ids)
        return evolve(self, asked=asked, jobs={job_id: self.jobs[job_id] for job_id in asked if job_id in self.jobs})


@frozen
class Need:
    """What one cluster wants to know."""

    #: No older than this moment, on the watch's clock.
    since: float
    #: How the question waits for the command budget.
    kind: Kind = Kind.QUESTION


#: So long a cluster's jobs are asked about after its process was last seen (s).
EXPIRY = 120.0
#: Whoever asks says so all the while, this often; who has not for so long is not waited for (s).
_BEAT = 2.0
_ABANDONED = 6.0
#: How often is looked whether somebody else's question was answered (s).
_GLANCE = 0.2
#: How often is tried to let others know of an answer: they can ask themselves.
_TRIES = 3
#: A question that has waited for so long is told (s).
TOLD_AFTER = 20.0


@frozen(kw_only=True)
class _Enquiry:
    """What is shared of the questions to one batch system."""

    #: By owner: until when its jobs are wanted, and which.
    wanted: Mapping[str, tuple[float, tuple[JobId, ...]]] = field(factory=dict)
    #: Who is asking, and when that was last seen to go on.
    asking: str = ""
    beat: float = 0.0
    #: When the last answer was asked for, and why there was none; empty if there was.
    answered_at: float = float("-inf")
    failure: str = ""


class Watch:
    """One question for the jobs of all clusters of a user on a host that talk to the same batch system.

    The clusters, in whatever processes, leave in a file which jobs they want to know of. Whoever wants to know takes
    an answer that is young enough, waits for one that is under way, or asks for everybody.
    """

    _all: ClassVar[weakref.WeakValueDictionary[str, Watch]] = weakref.WeakValueDictionary()
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, identity: str, budget: CommandBudget | None) -> Watch:
        """The watch of this process for one batch system; clusters run in different threads."""
        with cls._guard:
            watch = cls._all.get(identity)
            # The embedded queue is asked by each process for itself.
            if watch is None:
                watch = cls._all[identity] = cls(identity, budget)
            return watch

    def __init__(self, identity: str = "", budget: CommandBudget | None = None) -> None:
        """Share under this identity.

        Parameters
        ----------
        identity
            Which batch system, asked how: answers are shared by those alone who have the same.
        budget
            None: questions are free, and nothing is shared with other processes.
        """
        self._key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._budget = budget
        self._shared = Shared(clock=time.monotonic) if budget is None else budget.shared
        self._owners: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()
        #: By owner, what there was to see when it looked last.
        self._seen: weakref.WeakKeyDictionary[object, object] = weakref.WeakKeyDictionary()
        self._latest: Answer | None = None
        #: The last question, for everybody, failed: the next one is for its owner alone.
        self._is_alone = False
        #: Since when somebody's question has waited, and why.
        self._waiting: weakref.WeakKeyDictionary[object, tuple[float, str]] = weakref.WeakKeyDictionary()
        self._told_of: weakref.WeakKeyDictionary[object, float] = weakref.WeakKeyDictionary()

    def now(self) -> float:
        """The moment, on the clock of answers."""
        return self._shared.now()

    async def poll(
        self,
        owner: object,
        job_ids: Iterable[JobId],
        ask: Callable[[list[JobId]], Awaitable[Mapping[JobId, JobStatus]]],
        *,
        need: Callable[[], Need | None],
    ) -> Answer | None:
        """The status of these jobs: from a recent answer that covers them, or by asking for everybody's jobs.

        Parameters
        ----------
        owner
            Who asks; its jobs are included when others ask, as long as it lives.
        ask
            Its first command is in the ledger already.
        need
            How young the answer must be, and how the question waits for the command budget; asked again while it
            waits. None: there is no need any more, which is what is returned then.

        Raises
        ------
        BatchSystemUnavailable
            Somebody else asked, and there was no answer.
        Exception
            Whatever `ask` raised.
        """
        mine = frozenset(job_ids)
        began = self.now()
        try:
            while True:
                if (wanted := need()) is None:
                    return None
                turn = await asyncio.to_thread(self._turn, owner, mine, wanted)
                if not isinstance(turn, float):
                    break
                self._tell_delay(owner, began)
                await asyncio.sleep(turn)
        finally:
            self._waiting.pop(owner, None)
        if isinstance(turn, Answer):
            return turn.about(mine)
        return (await self._ask(owner, turn if mine < turn and not self._is_alone else mine, ask)).about(mine)

    async def _ask(
        self,
        owner: object,
        job_ids: frozenset[JobId],
        ask: Callable[[list[JobId]], Awaitable[Mapping[JobId, JobStatus]]],
    ) -> Answer:
        """Ask, and let the others know what was answered, or that nothing was."""
        question = Answer(asked_at=self.now(), asked=job_ids, jobs={})
        told: Answer | str | None = None
        try:
            async with self._asking(owner):
                # By its text: comparing ten thousand ids as values would hold the event loop up.
                answer = told = evolve(question, jobs=await ask(sorted(job_ids, key=str)))
            self._is_alone = False
        except Exception as error:
            told = str(error) or repr(error)
            # Should it be for an id of somebody else's, this owner hears of its own the next time.
            self._is_alone = not self._is_alone
            raise
        finally:
            publishing = asyncio.to_thread(self._publish, owner, question.asked_at, told)
            await asyncio.shield(asyncio.create_task(publishing))
        return answer

    async def news(self, owner: object, job_ids: Iterable[JobId]) -> Answer | None:
        """An answer that the owner has not seen yet; None if there is none. Says that its jobs are wanted still."""
        return await asyncio.to_thread(self._news, owner, frozenset(job_ids))

    def forget(self, owner: object) -> None:
        """This owner asks no more. Blocks for a moment."""
        name = self._owners.pop(owner, None)
        if name is None:
            return
        with self._shared.locked() as board:
            enquiry = self._read(board)
            wanted = {other: want for other, want in enquiry.wanted.items() if other != name}
            if wanted:
                self._write(board, evolve(enquiry, wanted=wanted))
            else:
                board.remove(self._file)
                board.remove(self._answer_file)

    def delay(self, owner: object) -> str:
        """Why this owner's question has waited for long; empty if it has not."""
        since, why = self._waiting.get(owner, (self.now(), ""))
        waited = self.now() - since
        return f"a question to the batch system has waited for {waited:.0f} s {why}" if waited >= TOLD_AFTER else ""

    # --- under the lock -----------------------------------------------------------------------------------------

    @property
    def _file(self) -> str:
        return f"questions-{self._key}.json"

    @property
    def _answer_file(self) -> str:
        return f"answer-{self._key}.json"

    def _turn(self, owner: object, mine: frozenset[JobId], need: Need) -> Answer | float | frozenset[JobId]:
        """An answer, the seconds to wait, or the jobs to ask about."""
        name = self._name(owner)
        with self._shared.locked() as board:
            # Not before: what was written while the lock was waited for is no news from the future.
            now = self.now()
            if board.is_busy:
                self._waiting[owner] = self._waiting.get(owner, (now, ""))[0], "for the lock that all of them share"
                return BUSY
            before = self._read(board)
            enquiry = evolve(before, wanted=_wanted(before.wanted, name, mine, now))
            if before.answered_at >= need.since:
                if before.failure:
                    raise BatchSystemUnavailable(before.failure)
                answer = self._read_answer(board, before.answered_at)
                if answer is not None and mine <= answer.asked:
                    if enquiry.wanted is not before.wanted:
                        self._write(board, enquiry)
                    return answer
            is_asked = before.asking not in ("", name) and 0.0 <= now - before.beat < _ABANDONED
            delay = 0.0
            if not is_asked and self._budget is not None:
                delay = self._budget.enter(board, need.kind, self._key)
            if is_asked or delay:
                if enquiry.wanted is not before.wanted:
                    self._write(board, enquiry)
                since, _ = self._waiting.get(owner, (now, ""))
                self._waiting[owner] = since, self._why(is_asked, len(enquiry.wanted) - 1)
                return _GLANCE if is_asked else min(delay, 1.0)
            self._write(board, evolve(enquiry, asking=name, beat=now))
        return frozenset().union(*(ids for _, ids in enquiry.wanted.values()))

    def _why(self, is_asked: bool, others: int) -> str:
        """What a question waits for."""
        clusters = f"your {others} other cluster{'s' * (others != 1)} on this host"
        if is_asked or self._budget is None:
            return f"for an answer that one of {clusters} has asked for"
        budget = f"for the command budget ({self._budget.per_minute} a minute)"
        return f"{budget}, which it shares with {clusters}" if others > 0 else budget

    def _publish(self, owner: object, asked_at: float, told: Answer | str | None) -> None:
        """Let the others know an answer, why there was none, or that this owner asks no more."""
        for _ in range(_TRIES):
            with self._shared.locked() as board:
                if not board.is_busy:
                    self._publish_on(board, owner, asked_at, told)
                    return

    def _publish_on(self, board: Board, owner: object, asked_at: float, told: Answer | str | None) -> None:
        enquiry = self._read(board)
        if enquiry.asking == self._name(owner):
            enquiry = evolve(enquiry, asking="", beat=0.0)
        if told is not None and asked_at > enquiry.answered_at:
            enquiry = evolve(enquiry, answered_at=asked_at, failure="")
            if isinstance(told, str):
                enquiry = evolve(enquiry, failure=told)
            else:
                board.write(self._answer_file, _encoded(told))
                self._latest = told
        self._write(board, enquiry)

    def _news(self, owner: object, mine: frozenset[JobId]) -> Answer | None:
        now = self.now()
        name = self._name(owner)
        stamp = (self._shared.stamp(self._answer_file), mine, now // (EXPIRY / 4))
        if self._seen.get(owner) == stamp:
            return None
        with self._shared.locked() as board:
            if board.is_busy:
                return None
            enquiry = self._read(board)
            wanted = _wanted(enquiry.wanted, name, mine, now)
            if wanted is not enquiry.wanted:
                self._write(board, evolve(enquiry, wanted=wanted))
            answer = None if enquiry.failure else self._read_answer(board, enquiry.answered_at)
        self._seen[owner] = stamp
        return None if answer is None else answer.about(mine)

    def _read(self, board: Board) -> _Enquiry:
        return _decoded_enquiry(board.read(self._file), self.now())

    def _write(self, board: Board, enquiry: _Enquiry) -> None:
        content: dict[str, Any] = {
            "wanted": {
                owner: [until, [[job_id.text, job_id.where] for job_id in ids]]
                for owner, (until, ids) in enquiry.wanted.items()
            },
            "asking": enquiry.asking,
            "beat": enquiry.beat,
            "failure": enquiry.failure,
        }
        if enquiry.answered_at > float("-inf"):
            content["answered_at"] = enquiry.answered_at
        board.write(self._file, content)

    def _read_answer(self, board: Board, asked_at: float) -> Answer | None:
        if self._latest is None or self._latest.asked_at != asked_at:
            answer = _decoded(board.read(self._answer_file))
            # The other file was written, and this one not.
            if answer is None or answer.asked_at != asked_at:
                return None
            self._latest = answer
        return self._latest

    # --- oneself ------------------------------------------------------------------------------------------------

    def _name(self, owner: object) -> str:
        with self._guard:
            return self._owners.setdefault(owner, uuid.uuid4().hex)

    @asynccontextmanager
    async def _asking(self, owner: object) -> AsyncIterator[None]:
        """Say all the while that this process is asking: one that was stopped is not waited for."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(_BEAT)
                await asyncio.to_thread(self._beat, owner)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    def _beat(self, owner: object) -> None:
        with self._shared.locked() as board:
            enquiry = self._read(board)
            if enquiry.asking == self._name(owner):
                self._write(board, evolve(enquiry, beat=self.now()))

    def _tell_delay(self, owner: object, began: float) -> None:
        """Say once that a question has waited for long."""
        if self.now() - began >= TOLD_AFTER and self._told_of.get(owner) != began:
            self._told_of[owner] = began
            logger.warning("%s", self.delay(owner))


def _wanted(
    wanted: Mapping[str, tuple[float, tuple[JobId, ...]]], name: str, mine: frozenset[JobId], now: float
) -> Mapping[str, tuple[float, tuple[JobId, ...]]]:
    """What is wanted now, by this owner too; the same mapping if that is nothing new."""
    until, ids = wanted.get(name, (0.0, ()))
    if until - now > EXPIRY / 2 and mine == set(ids) and all(other > now for other, _ in wanted.values()):
        return wanted
    others = {other: want for other, want in wanted.items() if want[0] > now}
    return {**others, name: (now + EXPIRY, tuple(mine))}


# --- as text ----------------------------------------------------------------------------------------------------


def _encoded(answer: Answer) -> dict[str, Any]:
    jobs = {}
    for job_id, status in answer.jobs.items():
        values = {each.name: getattr(status, each.name) for each in fields(JobStatus)}
        jobs[job_id.text] = {name: value for name, value in values.items() if value not in ("", None, ())}
        jobs[job_id.text]["state"] = status.state.name
    asked = [[job_id.text, job_id.where] for job_id in answer.asked]
    return {"asked_at": answer.asked_at, "asked": asked, "jobs": jobs}


def _decoded(content: dict[str, Any]) -> Answer | None:
    """None if it is nothing that this version has written."""
    try:
        asked = frozenset(map(_job_id, content["asked"]))
        jobs = {
            JobId(text): JobStatus(**{**values, "state": JobState[values["state"]]})
            for text, values in content["jobs"].items()
        }
        return Answer(asked_at=float(content["asked_at"]), asked=asked, jobs=jobs)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _decoded_enquiry(content: dict[str, Any], now: float) -> _Enquiry:
    try:
        wanted = {
            str(owner): (float(until), tuple(map(_job_id, ids))) for owner, (until, ids) in content["wanted"].items()
        }
        answered_at = float(content.get("answered_at", float("-inf")))
        return _Enquiry(
            # What claims to be of the future is not believed.
            wanted={owner: want for owner, want in wanted.items() if want[0] <= now + EXPIRY},
            asking=str(content["asking"]),
            beat=float(content["beat"]),
            answered_at=answered_at if answered_at <= now else float("-inf"),
            failure=str(content["failure"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return _Enquiry()


def _job_id(words: Any) -> JobId:
    text, where = words
    # It becomes a word of a command.
    if not isinstance(text, str) or not text.isprintable() or not text or text[0] == "-" or " " in text:
        raise ValueError(f"{text!r} is no id")
    return JobId(text, where=str(where))
