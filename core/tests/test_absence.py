"""What is concluded from an answer that does not list what it should: the engine's memory, and a scheduler in a job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.config
import pytest
from attrs import evolve

from corral import JobState, hookimpl, mapped
from corral.batch.client import BatchSystem
from corral.cluster.registry import Entry
from corral.errors import LoginRefused
from corral.host.identity import Identity
from corral.jobs.record import JobRecord
from corral.jobs.table import Roster
from corral.jobs.transitions import connect
from corral.plugin import discovery
from corral.plugin.values import Command, Job, JobId, JobStatus, Resources
from corral.remote.locate import Residence

PENDING = JobStatus(state=JobState.PENDING)
ENDED = JobStatus(state=JobState.COMPLETED)


def ids(*texts: str) -> list[JobId]:
    return [JobId(text) for text in texts]


def roster_of(*texts: str) -> Roster:
    """So many jobs that were listed at 0 s."""
    roster = Roster(lambda *_: None)
    roster.admit((JobRecord(id=job_id, name="dask-1") for job_id in ids(*texts)), 0.0)
    roster.learn(dict.fromkeys(ids(*texts), PENDING), ids(*texts), 0.0)
    return roster


def sought(roster: Roster, asked: Sequence[JobId], answer: dict[JobId, JobStatus], now: float) -> list[str]:
    """The jobs that are looked for by name after this answer."""
    return [record.id.text for record in roster.learn(answer, asked, now).to_seek]


def test_nothing_follows_from_an_answer_that_is_wrong() -> None:
    """It lists nothing, and a worker of one of the jobs is connected: the other may be there as well."""
    roster = roster_of("1", "2")
    roster.put(connect(roster.jobs[0], "1-0", 0.0))
    for now in (10.0, 70.0, 1000.0):
        assert sought(roster, ids("1", "2"), {}, now) == []
    assert roster.jobs[1].absent_since is None


def test_a_job_that_still_ends_is_listed() -> None:
    """The batch system knows it: what is missing beside it is missing among others."""
    roster = roster_of("1", "2")
    ending = JobStatus(state=JobState.CANCELLED, is_ending=True)
    assert not roster.learn({JobId("1"): ending}, ids("1", "2"), 10.0).lists_none


def test_ends_that_accounting_tells_are_no_sign_of_a_queue() -> None:
    """The queue's command lists nothing; accounting knows one end: what is missing is not missing among others."""
    roster = roster_of("1", "2", "3")
    lesson = roster.learn({JobId("1"): ENDED}, ids("1", "2", "3"), 10.0)
    assert [record.id.text for record in lesson.ended] == ["1"]
    assert lesson.lists_none
    assert sought(roster, ids("2", "3"), {}, 70.0) == ["2", "3"]
    assert not roster.sought(ids("2", "3"), (), 70.0, lists_none=True).ended


def test_half_a_table_is_asked_about() -> None:
    """What it lacks is looked for by name after a minute; what is found is there."""
    roster = roster_of("1", "2", "3")
    half = {JobId("1"): PENDING}
    assert sought(roster, ids("1", "2", "3"), half, 10.0) == []
    assert sought(roster, ids("1", "2", "3"), half, 70.0) == ["2", "3"]
    lesson = roster.sought(ids("2", "3"), ids("2"), 70.0, lists_none=False)
    assert [record.id.text for record in lesson.ended] == ["3"]
    assert roster.jobs[1].absent_since is None


def test_what_ended_while_it_was_looked_for_is_left_alone() -> None:
    """Its worker came meanwhile: it is alive."""
    roster = roster_of("1", "2")
    answer = {JobId("2"): PENDING}
    roster.learn(answer, ids("1", "2"), 10.0)
    assert sought(roster, ids("1", "2"), answer, 70.0) == ["1"]
    roster.worker_came("tcp://somewhere", "1-0", 71.0)
    assert not roster.sought(ids("1"), (), 72.0, lists_none=False).ended
    assert not roster.jobs[0].has_ended


# --- a scheduler in a job ---------------------------------------------------------------------------------------


class Silence:
    """A site on which commands about jobs that are there do nothing, and print nothing, with success."""

    is_on = False

    def change(self, command: Command) -> Command:
        return evolve(command, argv=["true"]) if self.is_on else command

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return mapped((yield), self.change)

    @hookimpl(wrapper=True)
    def find_jobs(self, name: Any) -> Any:
        return mapped((yield), self.change)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Any) -> Any:
        return mapped((yield), self.change)


def test_to_let_go_of_a_connection_none_is_made() -> None:
    """Nobody wants to be asked for a password then."""
    entry = Entry(name="there", uuid="77" * 16, backend="slurm", via="ssh://centre")
    with dask.config.set({"corral.ssh": "no-such-ssh"}):
        residence = Residence(entry)
        with pytest.raises(LoginRefused, match="no-such-ssh"):
            residence.reach()
        residence.let_go()


class Lingers:
    """A job that was removed is listed a while longer, as HTCondor does while its processes end."""

    answers = 3

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return self._with_its_end((yield))

    def _with_its_end(self, conversation: Any) -> Any:
        found = yield from conversation
        if all(status.state.is_final for status in found.values()) and self.answers:
            self.answers -= 1
            return {job_id: evolve(status, is_ending=True) for job_id, status in found.items()}
        return found


async def test_a_scheduler_s_job_is_waited_for_while_it_still_ends(state_directory: Path) -> None:
    """What was cancelled has not ended yet, and what it uses is not removed."""
    lingers = Lingers()
    options = {"directory": str(state_directory.parent / "queue")}
    batch = BatchSystem(backend="local", manager=discovery.load("local", options=options, plugins=[lingers]))
    job = Job(name="dask-scheduler", command=["sleep", "1000"], resources=Resources(memory=10**8))
    [job_id] = (await batch.submit(batch.render(batch.prepare(job)), 1)).ids
    entry = Entry(
        name="mine", uuid="77" * 16, backend="local", process=Identity.nobody(), scheduler="job",
        scheduler_name=job.name, scheduler_job=job_id.text,
        credentials=str(state_directory / "clusters" / ("77" * 16) / "credentials.json"),
    )  # fmt: skip
    await asyncio.wait_for(Residence(entry, batch).await_end(was_asked=False), 60)
    assert lingers.answers == 0


async def test_a_scheduler_s_job_that_cannot_be_seen_is_not_forgotten(
    state_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it was cancelled is not known: the registry's entry stays, and that is said."""
    silence = Silence()
    options = {"directory": str(state_directory.parent / "queue")}
    batch = BatchSystem(backend="local", manager=discovery.load("local", options=options, plugins=[silence]))
    job = Job(name="dask-scheduler", command=["sleep", "1000"], resources=Resources(memory=10**8))
    [job_id] = (await batch.submit(batch.render(batch.prepare(job)), 1)).ids
    uuid = "77" * 16
    credentials = state_directory / "clusters" / uuid / "credentials.json"
    entry = Entry(
        name="mine", uuid=uuid, backend="local", process=Identity.nobody(), scheduler="job", scheduler_name=job.name,
        scheduler_job=job_id.text, credentials=str(credentials),
    )  # fmt: skip
    entry.write()
    residence = Residence(entry, batch)
    silence.is_on = True
    await residence.await_end(was_asked=False)
    assert entry.path.exists()
    assert "`corral clean` looks for it again" in caplog.text
    silence.is_on = False
    assert await batch.find(job.name) == [job_id]
    await asyncio.wait_for(residence.await_end(was_asked=False), 30)
    assert await batch.find(job.name) == []
    assert not entry.path.exists()
