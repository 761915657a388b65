"""When a batch system is asked about jobs: one question for all clusters of a user on a host.

When a cluster wants to know is a matter of its `Rhythm`; how many commands there may be, of the ledger
(`corral.batch.budget`).
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from attrs import evolve, frozen

from corral.batch.answers import EXPIRY, Answer, Enquiry
from corral.batch.budget import CommandBudget, Kind
from corral.errors import BatchSystemUnavailable
from corral.host.shared import BUSY, Board, Shared
from corral.plugin.values import JobId, JobStatus
from corral.text.logs import logger_of

logger = logger_of("corral.batch.polling")

#: Whoever asks says so all the while, this often; who has not for so long is not waited for (s).
_BEAT = 2.0
_ABANDONED = 6.0
#: How often is looked whether somebody else's question was answered (s).
_GLANCE = 0.2
#: How often is tried to let others know of an answer: they can ask themselves.
_TRIES = 3
#: A question that has waited for so long is told (s).
TOLD_AFTER = 20.0


@frozen
class Need:
    """What one cluster wants to know."""

    #: No older than this moment, on the watch's clock.
    since: float
    #: How the question waits for the command budget.
    kind: Kind = Kind.QUESTION


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
        return f"a query to the batch system has waited {waited:.0f} s {why}" if waited >= TOLD_AFTER else ""

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
            enquiry = before.wanting(name, mine, now)
            if before.answered_at >= need.since:
                if before.failure:
                    raise BatchSystemUnavailable(before.failure)
                answer = self._read_answer(board, before.answered_at)
                if answer is not None and mine <= answer.asked:
                    if enquiry is not before:
                        self._write(board, enquiry)
                    return answer
            is_asked = before.asking not in ("", name) and 0.0 <= now - before.beat < _ABANDONED
            delay = 0.0
            if not is_asked and self._budget is not None:
                delay = self._budget.enter(board, need.kind, self._key)
            if is_asked or delay:
                if enquiry is not before:
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
            return f"for an answer that one of {clusters} has requested"
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
                board.write(self._answer_file, told.content())
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
            if (wanting := enquiry.wanting(name, mine, now)) is not enquiry:
                self._write(board, wanting)
            answer = None if enquiry.failure else self._read_answer(board, enquiry.answered_at)
        self._seen[owner] = stamp
        return None if answer is None else answer.about(mine)

    def _read(self, board: Board) -> Enquiry:
        return Enquiry.read(board.read(self._file), self.now())

    def _write(self, board: Board, enquiry: Enquiry) -> None:
        board.write(self._file, enquiry.content())

    def _read_answer(self, board: Board, asked_at: float) -> Answer | None:
        if self._latest is None or self._latest.asked_at != asked_at:
            answer = Answer.read(board.read(self._answer_file))
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
