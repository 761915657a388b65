"""What a group concludes from the ends of its jobs."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from attrs import evolve

from corral.errors import BatchSystemUnavailable, CorralError, LimitReached, NeverStarts, SubmitRejected
from corral.jobs.group import AVOIDED_FOR, Group
from corral.jobs.group_state import GroupState
from corral.jobs.plan import plan
from corral.jobs.record import JobFailure, JobRecord, Outcome
from corral.jobs.table import Roster
from corral.plugin.values import JobId, JobState, JobStatus, Resources
from corral.request.worker_group import WorkerGroup
from corral.scaling.account import STATES, Hours, Ledger, Usage
from corral.scaling.usage import Census
from corral.scaling.workload import kind_of

NOW = 10_000.0


def works(number: int, host: str, since: float = NOW - 500) -> JobRecord:
    status = JobStatus(state=JobState.RUNNING, hosts=[host])
    return JobRecord(id=JobId(str(number)), status=status, workers=frozenset({f"{number}-0"}), connected_at=since)


def died(number: int, host: str, at: float = NOW) -> JobFailure:
    status = JobStatus(state=JobState.FAILED, hosts=[host])
    record = JobRecord(id=JobId(str(number)), status=status, connected_at=at - 1, ended_at=at)
    return JobFailure(job=record, outcome=Outcome.DIED)


@pytest.fixture
def group() -> Group:
    return Group(name="default", cluster="c", spec=WorkerGroup(memory="1GB"), resources=Resources(cores=1))


def test_a_host_on_which_jobs_keep_dying_is_avoided_for_an_hour(group: Group) -> None:
    """Twice is enough; it is blamed once, and has another chance later."""
    jobs = [works(1, "n1")]
    group.failures = [died(2, "n2")]
    assert group.blame(jobs, NOW) is None
    group.failures.append(died(3, "n2"))
    assert group.blame(jobs, NOW) == "n2"
    assert group.blame(jobs, NOW) is None
    assert group.excluded_hosts(NOW + AVOIDED_FOR - 1) == ("n2",)
    assert group.excluded_hosts(NOW + AVOIDED_FOR) == ()
    later = NOW + AVOIDED_FOR
    assert group.blame(jobs, later) is None, "what happened an hour ago is no news"
    group.failures += [died(4, "n2", at=later), died(5, "n2", at=later)]
    assert group.blame(jobs, later) == "n2"


def test_a_host_on_which_jobs_work_again_is_not_to_blame(group: Group) -> None:
    """Over days something dies everywhere."""
    group.failures = [died(2, "n2", at=NOW - 100), died(3, "n2")]
    assert group.blame([works(1, "n1"), works(4, "n2", since=NOW - 50)], NOW) is None
    assert group.blame([works(1, "n1"), works(4, "n2", since=NOW - 200)], NOW) == "n2"


def test_one_host_is_always_left(group: Group) -> None:
    """If jobs die everywhere, hosts are not at fault; and a job that avoids all of them never runs."""
    group.failures = [died(number, f"n{number % 3}") for number in range(12)]
    assert group.blame([], NOW) is None
    jobs = [works(20, "n0"), works(21, "n1"), works(22, "n2")]
    blamed = [group.blame(jobs, NOW), group.blame(jobs, NOW), group.blame(jobs, NOW)]
    assert blamed == ["n0", "n1", None]


def test_what_a_job_costs_is_told_by_what_it_did(group: Group) -> None:
    """Once its workers have left for good, it costs nothing, however late the batch system says that it ended."""
    roster = Roster(lambda *_: None)
    census = Census(cluster="c", scheduler=SimpleNamespace(workers={}), roster=roster)  # type: ignore[arg-type]
    job = works(1, "n1")
    left = evolve(job, workers=frozenset(), leaving="walltime")
    costs = {
        "starting": evolve(job, workers=frozenset(), connected_at=None),
        "idle": job,
        "draining": evolve(job, leaving="walltime"),
        "": left,
    }
    moment = NOW
    for state, record in costs.items():
        roster.put(evolve(record, started_at=NOW - 600))
        census.look({"default": group}, moment)
        before = census.ledger.account().groups.get("default", Usage())
        moment += 3600
        census.look({"default": group}, moment)
        after = census.ledger.account().groups["default"]
        grown = {each: getattr(after, each) - getattr(before, each) for each in STATES}
        assert grown == {each: float(each == state) for each in STATES}


def test_a_start_that_became_known_late_costs_what_it_cost(group: Group) -> None:
    """Its launcher says it, with the first worker; of what was before the first look, nothing is written down."""
    group.resources = Resources(nodes=1, cores=4)
    roster = Roster(lambda *_: None)
    census = Census(cluster="c", scheduler=SimpleNamespace(workers={}), roster=roster)  # type: ignore[arg-type]
    roster.put(evolve(works(1, "n1"), started_at=NOW - 900, connected_at=NOW - 800))
    census.look({"default": group}, NOW)
    roster.put(evolve(works(2, "n1"), started_at=NOW + 10, connected_at=NOW + 40))
    census.look({"default": group}, NOW + 45)
    used = census.ledger.account().groups["default"]
    assert (used.starting * 3600, used.idle * 3600) == pytest.approx((4 * 30, 4 * 45 + 4 * 5))


def test_a_job_that_was_taken_for_gone_is_not_counted_twice(group: Group) -> None:
    """It is there after all, and has run in between."""
    group.resources = Resources(nodes=1, cores=1)
    roster = Roster(lambda *_: None)
    census = Census(cluster="c", scheduler=SimpleNamespace(workers={}), roster=roster)  # type: ignore[arg-type]
    job = evolve(works(1, "n1"), started_at=NOW, connected_at=NOW)
    for moment, record in ((NOW, job), (NOW + 50, job), (NOW + 60, evolve(job, ended_at=NOW + 60)), (NOW + 70, job)):
        roster.put(record)
        census.look({"default": group}, moment)
    assert census.ledger.core_hours * 3600 == pytest.approx(70)


def test_gpu_hours_are_counted_beside_core_hours(group: Group) -> None:
    """By group and by what its jobs did; what a task had run that was cut off moves in both."""
    group.resources = Resources(nodes=2, cores=8, gpus=4)
    roster = Roster(lambda *_: None)
    census = Census(cluster="c", scheduler=SimpleNamespace(workers={}), roster=roster)  # type: ignore[arg-type]
    roster.put(evolve(works(1, "n1"), started_at=NOW - 600))
    for moment in (NOW, NOW + 3600):
        census.look({"default": group}, moment)
    census.ledger.add("default", "busy", core_seconds=16 * 3600, gpu_seconds=8 * 3600)
    census.ledger.interrupt("default", core_seconds=4 * 3600, gpu_seconds=2 * 3600)
    used = census.ledger.account()
    assert used.groups["default"] == Usage(busy=12, idle=16, interrupted=4, gpus=Hours(busy=6, idle=8, interrupted=2))
    assert (used.total, used.lost, used.gpus.total, used.gpus.lost) == (32, 4, 16, 2)
    assert (census.ledger.core_hours, census.ledger.gpu_hours) == (32, 16)


def test_an_account_shows_gpu_hours_where_there_are_gpus() -> None:
    """In a table of their own, in the same columns, of the groups that used some."""
    ledger = Ledger()
    ledger.add("a-long-name", "busy", core_seconds=3600)
    head = "core-hours         busy        idle    starting    draining interrupted       total"
    long = "a-long-name        1.00        0.00        0.00        0.00        0.00        1.00"
    assert str(ledger.account()) == f"{head}\n{long}"
    ledger.add("gpu", "idle", core_seconds=7200, gpu_seconds=1800)
    assert str(ledger.account()).splitlines() == [
        head,
        long,
        "gpu                0.00        2.00        0.00        0.00        0.00        2.00",
        "",
        head.replace("core-hours", "GPU-hours "),
        "gpu                0.00        0.50        0.00        0.00        0.00        0.50",
    ]


def test_why_is_told_in_the_words_of_plan_and_batch_system(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    """What a plan does not know of is added; each sentence is logged once."""
    caplog.set_level(logging.DEBUG, "corral")
    todo = plan(GroupState(wanted=2), [works(1, "n1")], NOW)
    assert group.explain(todo, NOW)
    assert not group.explain(todo, NOW + 1)
    assert caplog.messages == ["cluster c: group 'default': 2 jobs wanted, 1 works: submit 1"]
    group.avoided = {"n2": NOW + 60, "n3": NOW + 60, "n4": NOW}
    assert group.explain(todo, NOW)
    assert group.because == "2 jobs wanted, 1 works: submit 1; jobs avoid n2 n3"
    group.avoided.clear()
    group.postpone(LimitReached("too many jobs\nof yours"), None, 1, NOW)
    group.explain(plan(evolve(group.state, wanted=2), [works(1, "n1")], NOW), NOW)
    assert group.because == "2 jobs wanted, 1 works; the last submission failed: try again later (too many jobs)"
    waiting = JobRecord(id=JobId("2"), status=JobStatus(state=JobState.PENDING))
    group.trouble = NeverStarts("default", 1, "PartitionTimeLimit", "its walltime is too long")
    group.explain(plan(GroupState(wanted=1), [waiting], NOW), NOW)
    assert group.because == "1 job wanted, 1 waits: nothing to do (a job will never start: its walltime is too long)"
    # What hindered it before is no reason for what is done now.
    group.trouble = LimitReached("too many jobs")
    group.explain(todo, NOW)
    assert group.because == "2 jobs wanted, 1 works: submit 1"


def test_how_long_workers_have_is_bounded_by_the_walltime_until_one_has_come(group: Group) -> None:
    """And is not known where jobs do not end."""
    assert kind_of(group).lifetime == float("inf")
    group.walltime = 3600.0
    assert kind_of(group).lifetime == 3600.0
    group.has_time(3550.0)
    group.has_time(3560.0)
    group.has_time(float("inf"))
    assert kind_of(group).lifetime == 3560.0


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (BatchSystemUnavailable("no answer"), "the submission will be retried automatically: no answer"),
        (LimitReached("too many jobs"), "the submission will be retried automatically: too many jobs"),
        (LimitReached("too many jobs. It is retried"), "too many jobs. It is retried"),
        (SubmitRejected("no such queue"), "no such queue"),
        (None, ""),
    ],
)
def test_who_waits_knows_whether_it_is_tried_again(group: Group, trouble: CorralError | None, words: str) -> None:
    """What passes by itself is left to corral, what does not to the user; each is said once."""
    group.trouble = trouble
    assert words == group.trouble_in_words()
