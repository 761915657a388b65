"""Ten thousand jobs in virtual time: the core's decisions and what it knows, and a queue that is a few lines.

Prints as JSON how many milliseconds of the processor each round's plan took.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence

from attrs import define, evolve, field

from corral.jobs.group_state import GroupState, draw_conclusions, proved, submitted
from corral.jobs.plan import plan
from corral.jobs.record import JobRecord, StopReason
from corral.jobs.table import Roster
from corral.plugin.values import JobId, JobState, JobStatus

JOBS = 10_000
#: Seconds from one poll to the next; how many jobs the queue can start between them; how long they may run.
ROUND, STARTS, WALLTIME = 60.0, 1000, 3600.0
#: In each round, the machine loses one job of so many.
LOSS = 2000


@define
class Simulation:
    """One group of a cluster: each round is a poll, and a plan that is carried out."""

    state: GroupState = GroupState(wanted=JOBS)
    now: float = 0.0
    #: How long each plan took the processor, in seconds.
    seconds: list[float] = field(factory=list)
    roster: Roster = field(factory=lambda: Roster(lambda _id, _before, _after: None))
    _random: random.Random = field(factory=lambda: random.Random(1))
    _arrays: Iterator[int] = field(factory=lambda: itertools.count(1))

    def want(self, jobs: int) -> None:
        self.state = evolve(self.state, wanted=jobs)

    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now += ROUND
            living = self.roster.living()
            lesson = self.roster.learn(self._queue(living), [record.id for record in living], self.now)
            self.state = draw_conclusions(proved(self.state, self.roster.jobs, self.now), lesson.ended, self.now)
            self.roster.forget_oldest()
            self._plan()

    def _plan(self) -> None:
        records = self.roster.jobs
        began = time.process_time()
        todo = plan(
            self.state, records, self.now, load=lambda record: float(len(self.roster.addresses(record.id))), lead=ROUND
        )
        self.seconds.append(time.process_time() - began)
        if todo.submit:
            array = next(self._arrays)
            self.state = submitted(self.state, todo.replacements, self.now)
            self.roster.admit(
                (JobRecord(id=JobId(f"{array}_{index}"), submitted_at=self.now) for index in range(todo.submit)),
                self.now,
            )
        for record, stop_reason in todo.cancel:
            self.roster.put(evolve(record, stop_reason=stop_reason, cancel_asked_at=self.now, is_cancel_accepted=True))
        for record in todo.retire:
            self.roster.put(evolve(record, stop_reason=StopReason.SURPLUS, retire_asked_at=self.now))

    def _queue(self, living: Sequence[JobRecord]) -> dict[JobId, JobStatus]:
        """What the batch system would answer."""
        answer = {}
        starts = STARTS
        for record in living:
            name, state = f"{record.id}-0", JobState.RUNNING
            if record.started_at is None:
                if record.stop_reason is not None:
                    state = JobState.CANCELLED
                elif starts:
                    starts -= 1
                    self.roster.worker_came(f"tls://{name}", name, self.now)
                else:
                    state = JobState.PENDING
            elif record.stop_reason is not None:
                state = JobState.COMPLETED
            elif self.now - record.started_at > WALLTIME:
                state = JobState.TIMEOUT
            elif self._random.randrange(LOSS) == 0:
                state = JobState.NODE_FAILED
            if state.is_final:
                self.roster.worker_left(f"tls://{name}", self.now)
            answer[record.id] = JobStatus(state=state, hosts=("n1",) if state is JobState.RUNNING else ())
        return answer

    def count_connected(self) -> int:
        return sum(1 for record in self.roster.jobs if record.is_connected)


def main() -> None:
    """Let all of them start, end at their walltime, be lost and replaced, be half of them, and go."""
    simulation = Simulation()
    simulation.run(80)
    simulation.want(JOBS // 2)
    simulation.run(5)
    assert simulation.count_connected() <= JOBS // 2
    simulation.want(JOBS)
    simulation.run(80)
    assert JOBS * 0.9 < simulation.count_connected() <= JOBS
    simulation.want(0)
    simulation.run(5)
    assert not simulation.roster.living()
    print(json.dumps([1000 * seconds for seconds in simulation.seconds]))


if __name__ == "__main__":
    main()
