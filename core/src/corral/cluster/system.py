"""One batch system, as one cluster's engine has to do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define, evolve, field

from corral.batch.answers import Answer
from corral.batch.client import BatchSystem
from corral.batch.polling import Need, Watch
from corral.batch.rhythm import Rhythm
from corral.cluster.tasks import Tasks
from corral.jobs.record import JobRecord
from corral.plugin.values import JobId
from corral.request.blueprint import Blueprint


@define(kw_only=True, eq=False)
class System:
    """When one batch system is asked, what it was told last, and what is under way with it.

    A cluster has one. Each batch system that its groups have of their own is another: it is asked at times of its own,
    and while it does not answer, nothing else waits for it.
    """

    batch: BatchSystem
    #: Serves this cluster: the same for all clusters that ask the same batch system in the same way.
    watch: Watch
    rhythm: Rhythm
    #: Jobs that it has been told to cancel, as long as it has not said whether it will.
    being_cancelled: frozenset[JobId] = field(default=frozenset(), init=False)
    #: An answer from before this moment, on the watch's clock, does not show what was last asked of it.
    acted_at: float = field(default=float("-inf"), init=False)
    tasks: Tasks = field(factory=Tasks, init=False)

    @classmethod
    def of(cls, blueprint: Blueprint, batch: BatchSystem) -> System:
        """One of a blueprint's."""
        return cls(
            batch=batch,
            watch=Watch.of(blueprint.identity(batch), batch.budget),
            rhythm=blueprint.rhythm(batch),
        )

    @property
    def name(self) -> str:
        """Of a batch system that is some groups' own; empty for the cluster's."""
        return self.batch.name

    def __str__(self) -> str:
        return f"batch system {self.name!r}" if self.name else "the batch system"

    def its(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        """Those of these jobs that are here."""
        return [record for record in records if record.id.system == self.name]

    def has_acted(self) -> None:
        """It was just told to do something: older answers do not show it."""
        self.acted_at = self.watch.now()

    # --- asking: the watch knows jobs as the batch system does, for clusters name it differently -----------------

    async def ask(self, job_ids: Sequence[JobId], need: Callable[[], Need | None]) -> Answer | None:
        """What it says of these jobs, whoever asks it; see `Watch.poll`."""
        answer = await self.watch.poll(self, self.batch.its_ids(job_ids), self.batch.poll_its_ids, need=need)
        return None if answer is None else self._ours(answer)

    async def news(self, job_ids: Sequence[JobId]) -> Answer | None:
        """What others have been answered; see `Watch.news`."""
        answer = await self.watch.news(self, self.batch.its_ids(job_ids))
        return None if answer is None else self._ours(answer)

    def delay(self) -> str:
        """Why a question has waited for long; empty if it has not."""
        return self.watch.delay(self)

    def forget(self) -> None:
        """Ask no more. Blocks for a moment."""
        self.watch.forget(self)

    def _ours(self, answer: Answer) -> Answer:
        if not self.name:
            return answer
        return evolve(
            answer,
            asked=frozenset(map(self.batch.our_id, answer.asked)),
            jobs={self.batch.our_id(job_id): status for job_id, status in answer.jobs.items()},
        )
