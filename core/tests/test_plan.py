"""Decisions about a group of jobs, asked as values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corral import WorkerGroup
from corral.errors import BudgetSpent
from corral.jobs import plan as planning
from corral.jobs.group import Group
from corral.jobs.group_state import GroupState, draw_conclusions, proved, rescaled, resized, submitted
from corral.jobs.plan import Plan, lasts, plan, usual_wait
from corral.jobs.reasons import Case
from corral.jobs.record import JobRecord, Outcome, StopReason, outcome
from corral.jobs.table import Roster
from corral.jobs.transitions import connect, disconnect, is_gone, must_be_sought, observe, presumed, sought, spared
from corral.plugin.values import JobId, JobState, JobStatus, Resources

NOW = 10_000.0

CONCEPTS = Path(__file__).parents[2] / "docs/concepts.md"


def job(number: int, state: JobState = JobState.PENDING, *, workers: int = 0, **fields: Any) -> JobRecord:
    names = frozenset(f"{number}-{index}" for index in range(workers))
    started = None if state.is_waiting else NOW - 30
    record = JobRecord(
        id=JobId(str(number)),
        status=JobStatus(state=state),
        workers=names,
        was_listed=True,
        started_at=started,
        connected_at=NOW - 20 if workers else None,
        submitted_at=NOW - 100 + number,
    )
    return evolve(record, **fields)


def ended(number: int, state: JobState, **fields: Any) -> JobRecord:
    return job(number, state, ended_at=NOW, **fields)


# --- growing and shrinking --------------------------------------------------------------------------------------


def test_what_is_missing_is_one_submission() -> None:
    """A thousand jobs are asked for at once, less those that are there or under way."""
    todo = plan(GroupState(wanted=1000), [job(1), job(2, JobState.RUNNING)], NOW, submitting=8)
    assert todo.submit == 990
    assert not todo.cancel
    assert not todo.retire


def test_waiting_jobs_are_given_up_before_running_ones() -> None:
    """Scaling down cancels what waits, youngest first, and asks the least loaded connected job to end by itself."""
    records = [
        job(1, JobState.RUNNING, workers=1),
        job(2, JobState.RUNNING, workers=1),
        job(3),
        job(4),
        job(5, JobState.RUNNING),
    ]
    todo = plan(GroupState(wanted=1), records, NOW, load=lambda record: float(record.id.text))
    assert [record.id.text for record, _ in todo.cancel] == ["4", "3", "5"]
    assert [record.id.text for record in todo.retire] == ["1"]


def test_jobs_that_are_leaving_are_no_capacity() -> None:
    """A job that drains before its walltime ends is replaced now, not when it is gone."""
    assert plan(GroupState(wanted=1), [job(1, JobState.RUNNING, workers=1, leaving="walltime")], NOW).submit == 1


def test_a_replacement_is_asked_for_as_early_as_the_queue_is_slow() -> None:
    """So many seconds before the job leaves as jobs of this queue usually wait."""
    record = evolve(job(1, JobState.RUNNING, workers=1), leaves_at=NOW + 1000)
    early = plan(GroupState(wanted=1), [record], NOW, lead=300)
    assert (0, NOW + 700) == (early.submit, early.again_at)
    assert plan(GroupState(wanted=1), [record], NOW + 700, lead=300).submit == 1
    assert plan(GroupState(wanted=1), [record, job(2)], NOW + 700, lead=300) == Plan()


def test_three_of_four_jobs_came_within_the_usual_wait() -> None:
    """Of nobody there is nothing to learn."""
    assert usual_wait([]) == 0.0
    assert usual_wait([80.0, 10.0, 30.0, 20.0, 70.0, 50.0, 40.0, 60.0]) == 70.0


def test_what_waits_to_relieve_others_is_not_given_up_because_the_queue_was_quicker_once() -> None:
    """Ten jobs leave in ten minutes, and eight replacements wait when new ones begin to come within five."""
    leaving = [job(number, workers=1, connected_at=0.0, leaves_at=NOW + 600) for number in range(10)]
    waiting = [job(number, submitted_at=NOW - 100) for number in range(10, 18)]
    known = [*leaving, *waiting]
    assert plan(GroupState(wanted=10), known, NOW, lead=700).submit == 2
    assert plan(GroupState(wanted=10), known, NOW, lead=400) == Plan(again_at=NOW + 200)
    # What nobody needs goes as ever: by the user's word, by the policy's, or because those that work stay for long.
    given_up = plan(GroupState(wanted=3), known, NOW, lead=400)
    assert (len(given_up.cancel), len(given_up.retire)) == (5, 7)
    chosen = GroupState(wanted=10, release=frozenset({waiting[0].id}))
    assert [record for record, _ in plan(chosen, known, NOW, lead=400).cancel] == [waiting[0]]
    assert len(plan(GroupState(wanted=10), known, NOW, lead=200).cancel) == 8


def test_a_job_whose_replacement_works_is_relieved() -> None:
    """No more workers than wanted, and none fewer while the replacement waits."""
    old, older = (evolve(job(n, JobState.RUNNING, workers=1), leaves_at=NOW + 10 * n) for n in (2, 1))
    new = job(3, JobState.RUNNING, workers=1)
    assert plan(GroupState(wanted=2), [old, older, new, job(4)], NOW, lead=100).retire == (older,)


def test_jobs_that_will_leave_go_when_nothing_is_wanted() -> None:
    record = evolve(job(1, JobState.RUNNING, workers=1), leaves_at=NOW + 10)
    assert plan(GroupState(wanted=0), [record], NOW, lead=100).retire == (record,)


def test_a_job_that_left_in_time_is_no_loss_to_make_up_for() -> None:
    """Its replacement was asked for when it began to leave: the hour's allowance is not used up."""
    left = ended(1, JobState.COMPLETED, workers=1, leaving="walltime")
    assert left.left_in_good_time
    assert draw_conclusions(GroupState(wanted=1), [left], NOW).losses == 0


def test_a_job_that_was_signalled_did_not_leave_in_good_time() -> None:
    """Nor did one that failed while it left: both are told."""
    assert not ended(1, JobState.COMPLETED, workers=1, leaving="signal").left_in_good_time
    assert not ended(1, JobState.FAILED, workers=1, leaving="walltime").left_in_good_time


def test_jobs_under_way_are_not_submitted_twice() -> None:
    """While a submission runs, the plan counts its jobs as coming."""
    assert plan(GroupState(wanted=3), [], NOW, submitting=3).submit == 0


def test_what_could_not_be_cancelled_still_counts() -> None:
    """Scaled down and up at once: never more jobs than asked for; none waits for one that is being cancelled."""
    record = job(1, JobState.RUNNING, stop_reason=StopReason.SURPLUS, cancel_asked_at=NOW)
    assert plan(GroupState(wanted=6), [record], NOW + 1).submit == 5
    assert plan(GroupState(wanted=6), [evolve(record, is_cancel_accepted=True)], NOW + 1).submit == 6
    ending_itself = job(1, JobState.RUNNING, workers=1, stop_reason=StopReason.SURPLUS, retire_asked_at=NOW)
    assert plan(GroupState(wanted=6), [ending_itself], NOW + 1).submit == 6


def test_a_cancellation_that_failed_is_repeated_with_growing_pauses() -> None:
    """PBS forgets a qdel that comes right after the qsub: ask again after some seconds, but not for ever so often."""
    for cancellations, pause in ((1, 5), (2, 10), (3, 20), (4, 40), (40, 300)):
        record = job(
            1, JobState.RUNNING, stop_reason=StopReason.SURPLUS, cancel_asked_at=NOW, cancellations=cancellations
        )
        early = plan(GroupState(), [record], NOW + pause - 0.1)
        assert not early.cancel
        assert early.again_at == NOW + pause
        assert plan(GroupState(), [record], NOW + pause).cancel == ((record, StopReason.SURPLUS),)


def test_a_cancellation_that_was_accepted_is_repeated_only_if_a_later_answer_shows_the_job() -> None:
    """Otherwise repetitions fill the ledger of commands, and the question that would end them never has its turn."""
    accepted = job(
        1,
        JobState.RUNNING,
        stop_reason=StopReason.SURPLUS,
        cancel_asked_at=NOW,
        cancellations=1,
        is_cancel_accepted=True,
        cancel_accepted_at=NOW,
    )
    assert plan(GroupState(), [accepted], NOW + 100_000) == Plan()
    # That answer was under way already.
    assert spared(accepted, NOW - 1) == accepted
    alive = spared(accepted, NOW + 1)
    assert not plan(GroupState(), [alive], NOW + 4).cancel
    assert plan(GroupState(), [alive], NOW + 5).cancel == ((alive, StopReason.SURPLUS),)


def test_a_retired_job_is_not_cancelled_while_its_workers_work() -> None:
    """Retirement waits for tasks, however long they take; only a job without workers is helped along."""
    working = job(1, JobState.RUNNING, workers=1, stop_reason=StopReason.SURPLUS, retire_asked_at=NOW)
    assert not plan(GroupState(), [working], NOW + 100_000).cancel
    stuck = disconnect(working, "1-0", NOW)
    assert not plan(GroupState(), [stuck], NOW + 59).cancel
    assert plan(GroupState(), [stuck], NOW + 60).cancel


def test_an_unresponsive_job_is_cancelled() -> None:
    """A job that runs for five minutes without a worker holds an allocation for nothing."""
    record = job(1, JobState.RUNNING)
    assert not plan(GroupState(wanted=1), [record], NOW + 200).cancel
    assert plan(GroupState(wanted=1), [record], NOW + 300).cancel == ((record, StopReason.UNRESPONSIVE),)


def test_an_unresponsive_job_is_cancelled_once() -> None:
    """Also when it is more than is wanted."""
    assert len(plan(GroupState(wanted=0), [job(1, JobState.RUNNING)], NOW + 300).cancel) == 1


def test_a_job_whose_workers_are_gone_for_good_is_cancelled() -> None:
    """A node lost power and came back: Slurm calls the job running until its walltime ends."""
    record = disconnect(job(1, JobState.RUNNING, workers=1), "1-0", NOW)
    assert plan(GroupState(wanted=1), [record], NOW + 59).again_at == NOW + 60
    todo = plan(GroupState(wanted=1), [record], NOW + 60)
    assert todo.cancel == ((record, StopReason.LOST_WORKERS),)
    assert todo.submit == 1
    assert not plan(GroupState(wanted=1), [connect(record, "1-0", NOW + 60)], NOW + 60).cancel


def test_a_job_that_worked_before_its_workers_vanished_is_lost_to_the_machine() -> None:
    """It is replaced, and no strike against the group."""
    began = connect(job(1, JobState.RUNNING), "1-0", NOW)
    late, early = (disconnect(began, "1-0", NOW + seconds) for seconds in (60, 59))
    ends = [evolve(each, stop_reason=StopReason.LOST_WORKERS, ended_at=NOW + 120) for each in (late, early)]
    assert [Outcome.LOST, Outcome.DIED] == [outcome(each) for each in ends]
    blamed = evolve(ends[1], status=JobStatus(state=JobState.NODE_FAILED))
    assert Outcome.LOST is outcome(blamed)


def test_a_requeued_job_begins_anew() -> None:
    """It waits again under its id: its workers are not lost."""
    ran = disconnect(job(1, JobState.RUNNING, workers=1), "1-0", NOW)
    again = observe(ran, JobStatus(state=JobState.PENDING), NOW + 10)
    assert not plan(GroupState(wanted=1), [again], NOW + 1000).cancel
    running = observe(again, JobStatus(state=JobState.RUNNING), NOW + 1000)
    assert not plan(GroupState(wanted=1), [running], NOW + 1100).cancel


ENDING = JobStatus(state=JobState.CANCELLED, is_ending=True)


def test_what_somebody_removed_is_replaced_while_it_still_ends() -> None:
    """HTCondor gives it a minute for that, and never runs it again."""
    removed = observe(job(1, JobState.RUNNING, workers=1), ENDING, NOW)
    assert (removed.state, outcome(removed)) == (JobState.CANCELLED, Outcome.OPERATOR)
    assert plan(GroupState(wanted=1), [removed], NOW).submit == 1


def test_what_corral_removed_is_waited_for() -> None:
    """Until it is gone: a cluster that has closed leaves no job."""
    closing = evolve(job(1, JobState.RUNNING, workers=1), stop_reason=StopReason.CLOSING)
    ending = observe(closing, ENDING, NOW)
    assert (ending.has_ended, ending.state, ending.workers) == (False, JobState.RUNNING, closing.workers)
    assert observe(ending, JobStatus(state=JobState.CANCELLED), NOW + 60).has_ended


def test_a_job_that_begins_anew_between_two_questions_leaves_no_more() -> None:
    """It left when it was evicted, and is back within a second: no answer has ever said that it waited."""
    began = job(1, JobState.RUNNING, workers=1, leaves_at=NOW + 100)
    left = disconnect(evolve(began, leaving="signal"), "1-0", NOW)
    assert left.condition == "draining"
    back = connect(left, "1.r1-0", NOW + 1)
    assert (back.condition, back.leaves_at, back.connected_at) == ("connected", None, NOW + 1)
    # One that leaves with its other workers is no other job.
    half = connect(evolve(began, leaving="signal"), "1-1", NOW + 1)
    assert (half.condition, half.leaves_at) == ("draining", NOW + 100)


@pytest.mark.parametrize(
    ("seen", "ran", "started"),
    [(None, None, NOW + 60), (None, 20.0, NOW + 40), (NOW + 59, 20.0, NOW + 40), (NOW + 30, 20.0, NOW + 30),
     (None, 1e6, NOW)],
)  # fmt: skip
def test_a_job_started_when_its_launcher_says_so(seen: float | None, ran: float | None, started: float) -> None:
    """If that is sooner than was seen: answers come late, or after its worker. It was not before it was submitted."""
    record = job(1, submitted_at=NOW, started_at=seen)
    first = connect(record, "1-0", NOW + 60, ran=ran)
    assert first.started_at == started
    assert connect(first, "1-1", NOW + 90, ran=89.0).started_at == started


def test_a_suspended_job_has_not_lost_its_workers() -> None:
    """Its workers are asleep; they have a minute when it goes on."""
    ran = disconnect(job(1, JobState.RUNNING, workers=1), "1-0", NOW)
    asleep = observe(ran, JobStatus(state=JobState.SUSPENDED), NOW + 500)
    assert not plan(GroupState(wanted=1), [asleep], NOW + 1000).cancel
    awake = observe(asleep, JobStatus(state=JobState.RUNNING), NOW + 510)
    assert not plan(GroupState(wanted=1), [awake], NOW + 559).cancel
    assert plan(GroupState(wanted=1), [awake], NOW + 560).cancel


def test_jobs_that_the_policy_chose_go_first() -> None:
    """Idle ones before waiting ones, if it says so; and whoever scales by hand is asked nothing."""
    records = [job(1, JobState.RUNNING, workers=1), job(2, JobState.RUNNING, workers=1), job(3)]
    state = resized(GroupState(wanted=3, losses=2), 2, [JobId("2")])
    assert [record.id.text for record in plan(state, records, NOW).retire] == ["2"]
    assert state.losses == 1
    assert plan(rescaled(state, 2), records, NOW).cancel == ((records[2], StopReason.SURPLUS),)


def test_a_wish_is_a_ceiling_until_somebody_scales() -> None:
    """A policy must not bring back what was cancelled from outside."""
    state = draw_conclusions(GroupState(wanted=3), [ended(number, JobState.CANCELLED) for number in range(2)], NOW)
    assert state.ceiling == resized(state, 0).ceiling == 1
    assert rescaled(state, 3).ceiling is None


# --- what ends mean ---------------------------------------------------------------------------------------------


def test_three_early_deaths_trip_the_breaker() -> None:
    """The third job that dies before its workers came stops the group; what waits is cancelled."""
    state = GroupState(wanted=4)
    for number in (1, 2):
        state = draw_conclusions(state, [ended(number, JobState.FAILED)], NOW)
    assert not state.broken
    state = draw_conclusions(state, [ended(3, JobState.FAILED)], NOW)
    assert state.broken
    waiting, running = job(4), job(5, JobState.RUNNING, workers=1)
    todo = plan(state, [waiting, running], NOW)
    assert todo.cancel == ((waiting, StopReason.BREAKER),)
    assert todo.submit == 0
    assert plan(rescaled(state, 4), [running], NOW).submit == 3


def test_a_job_that_works_for_a_while_ends_a_row_of_deaths() -> None:
    """Two deaths, a job that proves itself, a third death: not three in a row."""
    state = draw_conclusions(GroupState(wanted=4), [ended(1, JobState.FAILED), ended(2, JobState.FAILED)], NOW)
    healthy = connect(job(3, JobState.RUNNING), "3-0", NOW + 1)
    assert proved(state, [healthy], NOW + 60).strikes == 2
    assert proved(state, [healthy], NOW + 61).strikes == 0


def test_a_job_that_was_healthy_before_the_deaths_proves_nothing() -> None:
    """Old jobs run on although every new one dies at once: the new ones are what is tried again and again."""
    state = draw_conclusions(GroupState(wanted=4), [ended(1, JobState.FAILED)], NOW)
    old = connect(job(3, JobState.RUNNING), "3-0", NOW - 1000)
    assert proved(state, [old], NOW + 5000).strikes == 1


def test_jobs_lost_to_the_machine_are_no_strikes() -> None:
    """Node failures, preemption and walltime are replaced, however many there are."""
    lost = [
        ended(1, JobState.NODE_FAILED),
        ended(2, JobState.PREEMPTED),
        ended(3, JobState.TIMEOUT, connected_at=NOW - 500),
        ended(4, JobState.FAILED, connected_at=NOW - 500),
    ]
    state = draw_conclusions(GroupState(wanted=4), lost, NOW)
    assert not state.broken
    assert plan(state, lost, NOW).replacements == 4


def test_memory_is_a_strike_however_long_the_job_worked() -> None:
    """The same memory will not be enough for the next job either."""
    assert outcome(ended(1, JobState.OUT_OF_MEMORY, connected_at=NOW - 5000)) is Outcome.DIED


def test_replacements_are_limited_by_the_hour() -> None:
    """At most as many as are wanted, but three: an allocation must not burn over night."""
    state = GroupState(wanted=2)
    for number in range(3):
        state = draw_conclusions(state, [ended(number, JobState.NODE_FAILED)], NOW)
        todo = plan(state, [job(50)], NOW)
        assert todo.submit == 1
        state = submitted(state, todo.replacements, NOW)
    state = draw_conclusions(state, [ended(9, JobState.NODE_FAILED)], NOW)
    todo = plan(state, [job(50)], NOW)
    assert (todo.submit, todo.withheld, todo.again_at) == (0, 1, NOW + 3600)
    assert plan(state, [job(50)], NOW + 3600).submit == 1


def test_growth_is_not_replacement() -> None:
    """Asking for more is never counted against the limit on replacements."""
    state = GroupState(wanted=100, replaced=(NOW,) * 200)
    assert plan(state, [], NOW).submit == 100


def test_one_job_cancelled_from_outside_is_replaced() -> None:
    """An operator may have had a reason that concerns that job alone."""
    state = draw_conclusions(GroupState(wanted=2), [ended(1, JobState.CANCELLED)], NOW)
    assert state.wanted == 2
    assert plan(state, [job(2)], NOW).submit == 1


def test_several_jobs_cancelled_from_outside_are_a_wish() -> None:
    """To scancel everything means: stop. The target follows."""
    state = draw_conclusions(GroupState(wanted=3), [ended(number, JobState.CANCELLED) for number in range(3)], NOW)
    assert state.wanted == 0


def test_a_wish_may_arrive_in_pieces() -> None:
    """The first poll may see one job cancelled and the others still ending: all of them were meant."""
    state = draw_conclusions(GroupState(wanted=4), [ended(1, JobState.CANCELLED)], NOW)
    state = submitted(state, 1, NOW)
    state = draw_conclusions(state, [ended(2, JobState.CANCELLED), ended(3, JobState.CANCELLED)], NOW + 3)
    assert state.wanted == 1
    state = draw_conclusions(state, [ended(4, JobState.CANCELLED)], NOW + 6)
    assert state.wanted == 0


def test_two_accidents_far_apart_are_two_accidents() -> None:
    """Ten minutes later, a second job cancelled from outside is replaced like the first."""
    state = draw_conclusions(GroupState(wanted=2), [ended(1, JobState.CANCELLED)], NOW)
    state = draw_conclusions(state, [ended(2, JobState.CANCELLED)], NOW + 601)
    assert state.wanted == 2


def test_what_corral_ended_itself_has_no_consequences() -> None:
    """Scaling down is no failure, whatever state the batch system calls it."""
    state = GroupState(wanted=1)
    stopped = [
        ended(1, JobState.CANCELLED, stop_reason=StopReason.SURPLUS),
        ended(2, JobState.FAILED, stop_reason=StopReason.SURPLUS),
    ]
    assert draw_conclusions(state, stopped, NOW) == state


# --- absence ----------------------------------------------------------------------------------------------------


def missed(record: JobRecord, *moments: float, lists_none: bool = True) -> JobRecord:
    """A job that polls at these moments did not list, and that was not found whenever it was looked for by its name."""
    for now in moments:
        record = observe(record, None, now)
        if is_gone(record, now, lists_none=lists_none, is_unfound=False):
            return presumed(record, now, lists_none=lists_none)
        if must_be_sought(record, now, lists_none=lists_none):
            record = sought(record, now, is_found=False, lists_none=lists_none)
    return record


def test_an_answer_alone_ends_no_job() -> None:
    """However long a poll does not list a job: absence is no evidence."""
    record = observe(observe(job(1), None, NOW), None, NOW + 3600)
    assert not record.has_ended


def test_a_job_that_is_missing_among_others_is_looked_for_once() -> None:
    """The batch system knows the others: after a minute, and with find_jobs agreeing, the job is gone."""
    assert not missed(job(1), NOW, NOW + 59, lists_none=False).has_ended
    record = missed(job(1), NOW, NOW + 60, lists_none=False)
    assert record.has_ended
    assert record.state is JobState.UNKNOWN
    assert "no longer lists" in record.reason


def test_an_answer_without_any_job_is_believed_after_minutes() -> None:
    """A controller that fails over answers so for a minute and a half: find_jobs must agree twice, far apart."""
    record = missed(job(1), *(NOW + seconds for seconds in range(0, 180, 10)))
    assert not record.has_ended
    assert missed(record, NOW + 180).has_ended


def test_a_job_that_is_found_by_its_name_is_there() -> None:
    """Then all that spoke against it is forgotten, and so it is when a poll lists it again."""
    record = missed(job(1), NOW, NOW + 60)
    back = sought(observe(record, None, NOW + 180), NOW + 180, is_found=True, lists_none=True)
    assert not missed(back, NOW + 180, NOW + 239).has_ended
    listed = observe(record, JobStatus(state=JobState.PENDING), NOW + 170)
    assert not missed(listed, NOW + 180, NOW + 239).has_ended


def test_a_job_whose_workers_have_left_has_two_witnesses() -> None:
    """Where the batch system keeps no history, its absence and theirs are enough, after a minute as ever."""
    record = disconnect(job(1, JobState.RUNNING, workers=1), "1-0", NOW)
    assert not missed(record, NOW, NOW + 59).has_ended
    assert missed(record, NOW, NOW + 60).has_ended


CANCELLED: dict[str, Any] = {"stop_reason": StopReason.SURPLUS, "cancel_asked_at": NOW, "is_cancel_accepted": True}


def test_a_cancelled_job_that_is_missing_among_others_is_cancelled() -> None:
    """Slurm drops a cancelled waiting element at once."""
    record = missed(job(1, **CANCELLED), NOW + 1, lists_none=False)
    assert record.has_ended
    assert record.state is JobState.CANCELLED


def test_a_cancelled_job_that_leaves_nothing_behind_is_looked_for() -> None:
    """Grid Engine keeps no trace of a job that was deleted while it waited: it was there, and now is not found."""
    record = observe(job(1, **CANCELLED), None, NOW + 1)
    assert not is_gone(record, NOW + 1, lists_none=True, is_unfound=False)
    record = missed(record, NOW + 1)
    assert record.has_ended
    assert record.state is JobState.CANCELLED


def test_a_cancellation_of_a_job_that_was_absent_before_proves_nothing() -> None:
    """A controller that knows no job accepts every cancellation."""
    record = evolve(observe(job(1), None, NOW - 1), **CANCELLED)
    assert not missed(record, *(NOW + seconds for seconds in range(0, 170, 10))).has_ended
    assert missed(record, NOW, NOW + 60, NOW + 180).has_ended


def test_a_cancellation_that_was_not_accepted_proves_nothing() -> None:
    """That the job is missing afterwards is not its doing."""
    record = missed(job(1, stop_reason=StopReason.SURPLUS, cancel_asked_at=NOW), NOW + 1, NOW + 10)
    assert not record.has_ended


def test_a_job_cancelled_before_it_was_ever_listed_is_waited_for() -> None:
    """It may not have reached the queue yet when the cancellation did."""
    fresh = job(1, was_listed=False, **CANCELLED)
    assert not missed(fresh, NOW + 1).has_ended
    assert missed(fresh, NOW + 2).has_ended


def test_a_waiting_job_that_vanishes_is_nobody_s_wish() -> None:
    """Nobody said that it was cancelled: it is replaced, within the usual limits, and the target stays."""
    state = GroupState(wanted=4)
    vanished = [missed(job(number), NOW, NOW + 60, NOW + 180) for number in range(4)]
    assert [outcome(record) for record in vanished] == [Outcome.LOST] * 4
    state = draw_conclusions(state, vanished, NOW + 180)
    assert state.wanted == 4
    todo = plan(state, vanished, NOW + 180)
    assert (todo.submit, todo.replacements) == (4, 4)


def test_a_job_that_was_given_up_lives_if_its_worker_comes() -> None:
    """Then it is known again, and cancelled again if nobody wants it."""
    given_up = missed(job(1, was_listed=False, **CANCELLED), NOW + 2)
    assert given_up.has_ended
    back = connect(given_up, "1-0", NOW + 3)
    assert not back.has_ended
    assert back.state is JobState.RUNNING
    assert plan(GroupState(), [disconnect(back, "1-0", NOW)], NOW + 10).cancel


def test_a_worker_may_come_and_leave_before_its_job_is_known() -> None:
    """The submission has not returned yet; what is left counts."""
    roster = Roster(lambda *_: None)
    for index in range(2):
        assert roster.worker_came(f"tcp://{index}", f"7-{index}", NOW)
    assert roster.worker_left("tcp://0", NOW) is None
    roster.admit([JobRecord(id=JobId("7"))], NOW)
    assert roster.jobs[0].workers == {"7-1"}


def test_a_job_that_came_where_another_had_ended_says_nothing_of_the_queue() -> None:
    """Where only so many may run, it has waited for one of its own cluster; a minute later, for others."""
    roster = Roster(lambda *_: None)
    group = Group(name="default", cluster="c", spec=WorkerGroup(), resources=Resources(cores=1))
    roster.admit([JobRecord(id=JobId(str(number)), submitted_at=NOW - 500) for number in range(4)], NOW - 500)
    for number, moment in enumerate((NOW, NOW, NOW + 130, NOW + 200)):
        if moment == NOW + 130:
            assert roster.worker_left("tcp://0", NOW + 100) is not None
        roster.worker_came(f"tcp://{number}", f"{number}-0", moment, ran=10.0)
        group.has_come(roster.jobs[number])
    assert [record.took_own_place for record in roster.jobs] == [False, False, True, False]
    assert list(group.waits) == [500, 500, 700]
    assert len(group.starts) == 4
    # A second worker of the same job changes nothing.
    roster.worker_left("tcp://1", NOW + 210)
    roster.worker_came("tcp://4", "3-1", NOW + 220)
    assert not roster.jobs[3].took_own_place


def test_a_job_whose_worker_talks_to_us_is_alive() -> None:
    """Whatever the batch system says or forgets."""
    record = observe(observe(job(1, JobState.PENDING, workers=1), None, NOW), None, NOW + 1000)
    assert not record.has_ended
    assert record.state is JobState.RUNNING


def test_an_unknown_word_is_a_living_job() -> None:
    """A state that nobody knows is shown as it is, and the job is left alone."""
    record = observe(job(1), JobStatus(state=JobState.UNKNOWN, native="REVOKED"), NOW)
    assert not record.has_ended
    assert record.status.native == "REVOKED"


# --- whatever happens -------------------------------------------------------------------------------------------

STATES = st.sampled_from(sorted(JobState, key=lambda state: state.value))


@st.composite
def records(draw: st.DrawFn) -> Sequence[JobRecord]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        state = draw(STATES)
        workers = draw(st.integers(0, 2)) if not state.is_final else 0
        found.append(
            job(
                number,
                state,
                workers=workers,
                ended_at=NOW if state.is_final else None,
                stop_reason=draw(st.none() | st.sampled_from(list(StopReason))),
                leaving=draw(st.sampled_from(["", "walltime"])),
                leaves_at=NOW + draw(st.sampled_from([5, 500])) if workers else None,
                retire_asked_at=draw(st.none() | st.just(NOW - 1000)),
                cancel_asked_at=draw(st.none() | st.just(NOW - 1000)),
                is_cancel_accepted=draw(st.booleans()),
                started_at=None if state.is_waiting else NOW - draw(st.sampled_from([30, 1000])),
            )
        )
    return found


STATE = st.builds(
    GroupState,
    wanted=st.integers(0, 15),
    broken=st.booleans(),
    rejected=st.booleans(),
    losses=st.integers(0, 20),
    replaced=st.lists(st.floats(NOW - 7200, NOW), max_size=10).map(tuple),
    not_before=st.sampled_from([0.0, NOW + 10]),
    setbacks=st.integers(1, 5),
    ceiling=st.none() | st.integers(0, 15),
)
SPENT = st.none() | st.just(BudgetSpent(used=3.2, maximum=3.0))


@given(STATE, records(), st.integers(0, 5))
def test_a_plan_never_asks_for_more_than_is_wanted(
    state: GroupState, known: Sequence[JobRecord], submitting: int
) -> None:
    """After it is carried out there are at most as many jobs as wanted, or none was added."""
    todo = plan(state, known, NOW, submitting=submitting, lead=100)
    given_up = {record.id for record, _ in todo.cancel}
    capacity = sum(record.is_capacity and lasts(record, NOW, 100) and record.id not in given_up for record in known)
    assert todo.submit >= 0
    assert todo.submit == 0 or capacity + submitting + todo.submit <= state.wanted
    if state.is_stopped:
        assert todo.submit == 0


@given(STATE, records(), st.integers(0, 5))
def test_a_plan_ends_only_jobs_that_live_and_each_once(
    state: GroupState, known: Sequence[JobRecord], submitting: int
) -> None:
    """What has ended is left alone, nothing is both cancelled and retired, and connected jobs are never cut off."""
    todo = plan(state, known, NOW, submitting=submitting, lead=100)
    touched = [record.id for record, _ in todo.cancel] + [record.id for record in todo.retire]
    assert len(touched) == len(set(touched))
    assert not any(record.has_ended for record, _ in todo.cancel)
    assert all(record.workers for record in todo.retire)
    fresh = [record for record, why in todo.cancel if record.stop_reason is None]
    assert not any(record.workers for record in fresh)


@given(STATE, records())
def test_a_plan_keeps_at_least_what_is_wanted(state: GroupState, known: Sequence[JobRecord]) -> None:
    """Surplus jobs end, never more: unless the breaker has tripped, or a job has no workers for too long."""
    todo = plan(state, known, NOW, lead=100)
    if state.broken:
        return
    surplus = sum(1 for record, why in todo.cancel if record.stop_reason is None and why is StopReason.SURPLUS)
    capacity = sum(record.is_capacity for record in known)
    assert capacity - surplus - len(todo.retire) >= min(capacity, state.wanted)


# --- why --------------------------------------------------------------------------------------------------------


def test_the_cases_have_the_same_numbers_wherever_they_are_named() -> None:
    """In what `plan` says of itself, in its code, and in what it returns."""
    known = [(str(case.value), case.name) for case in Case]
    assert re.findall(r"^ *(\d+)\. ([A-Z]+):", plan.__doc__ or "", re.MULTILINE) == known
    code = "".join(re.findall("# .*$", inspect.getsource(planning), re.MULTILINE))
    assert re.findall(r"(\d+)\. ([A-Z]+)", code) == known


@given(STATE, records(), st.integers(0, 5), SPENT)
def test_a_plan_names_what_it_does_and_the_case_that_holds(
    state: GroupState, known: Sequence[JobRecord], submitting: int, spent: BudgetSpent | None
) -> None:
    """The first of the cases in its docstring, asked from what it was given and what it does."""
    todo = plan(state, known, NOW, submitting=submitting, lead=100, spent=spent)
    actions = {"submit": todo.submit, "cancel": len(todo.cancel), "retire": len(todo.retire), "withhold": todo.withheld}
    done = todo.because.rpartition(": ")[2]
    assert {word: int(number) for word, number in re.findall(r"(submit|cancel|retire|withhold) (\d+)", done)} == {
        word: number for word, number in actions.items() if number
    }
    missing = shortfall(todo.because)
    chosen = {stop_reason for record, stop_reason in todo.cancel if record.stop_reason is None}
    holds = {
        Case.BROKEN: state.broken,
        Case.SURPLUS: StopReason.SURPLUS in chosen or any(lasts(record, NOW, 100) for record in todo.retire),
        Case.RELIEF: "keep" in done,
        Case.RELIEVED: missing <= 0 and bool(todo.retire),
        Case.ENOUGH: missing <= 0,
        Case.REFUSED: state.rejected,
        Case.POSTPONED: state.not_before > NOW,
        Case.SPENT: spent is not None and missing > todo.withheld,
        Case.WITHHELD: todo.withheld > 0,
        Case.MISSING: todo.submit > 0,
    }
    assert todo.case is next(case for case in Case if holds[case])


def shortfall(because: str) -> int:
    """How many jobs are missing, by the figures in the sentence."""
    words = r"(\d+|no) jobs? wanted|(\d+) (?:works?|start|wait|w\w+ signalled|\w+ being submitted|\w+ still)"
    there = re.split("[;:]", because)[0]
    found = [(wanted, count) for wanted, count in re.findall(words, there)]
    return sum(int(wanted.replace("no", "0") or 0) - int(count or 0) for wanted, count in found)


@given(STATE, records(), st.integers(0, 5), SPENT)
def test_the_figures_add_up(
    state: GroupState, known: Sequence[JobRecord], submitting: int, spent: BudgetSpent | None
) -> None:
    """What is wanted, less what is said to be there, is what is submitted, or kept from being."""
    todo = plan(state, known, NOW, submitting=submitting, lead=100, spent=spent)
    if todo.case in (Case.MISSING, Case.WITHHELD):
        assert shortfall(todo.because) == todo.submit + todo.withheld
    else:
        assert todo.submit == 0


@pytest.mark.parametrize(
    ("state", "known", "more", "because"),
    [
        (
            GroupState(wanted=3),
            [job(1, JobState.RUNNING, workers=1), job(2)],
            {},
            "3 jobs wanted, 1 works, 1 waits: submit 1",
        ),
        (GroupState(), [], {}, "no job wanted: nothing to do"),
        (GroupState(wanted=3), [], {}, "3 jobs wanted, none there: submit 3"),
        (
            GroupState(wanted=9),
            [],
            {"submitting": 2},
            "9 jobs wanted, 2 are being submitted; one submission at a time: submit 7",
        ),
        (
            GroupState(wanted=1),
            [job(1, JobState.RUNNING, workers=1), job(2, JobState.RUNNING, workers=1), job(3)],
            {},
            "1 job wanted, 2 work, 1 waits: cancel 1, retire 1",
        ),
        (
            GroupState(wanted=1),
            [job(1, JobState.RUNNING, started_at=NOW - 300)],
            {},
            "1 job wanted, 1 has no worker for too long: cancel 1, submit 1",
        ),
        (
            GroupState(wanted=4, strikes=3, broken=True),
            [job(1)],
            {},
            "4 jobs wanted, 1 waits; 3 failed in a row: cancel 1, submit none until you scale again",
        ),
        (
            GroupState(wanted=2, rejected=True),
            [],
            {},
            "2 jobs wanted, none there; the batch system refuses such jobs: submit none until you scale again",
        ),
        (
            GroupState(wanted=2, setbacks=2, not_before=NOW + 1),
            [],
            {},
            "2 jobs wanted, none there; the last 2 submissions failed: try again later",
        ),
        (
            GroupState(wanted=2),
            [job(1, JobState.RUNNING)],
            {"spent": BudgetSpent(used=3.2, maximum=3.0)},
            "2 jobs wanted, 1 starts; the cluster's 3 core-hours are used up: "
            "submit none until cluster.maximum_core_hours is raised",
        ),
        (
            GroupState(wanted=2),
            [],
            {"spent": BudgetSpent(3.2, 3.0, "GPU-hours")},
            "2 jobs wanted, none there; the cluster's 3 GPU-hours are used up: "
            "submit none until cluster.maximum_gpu_hours is raised",
        ),
        (
            GroupState(wanted=2, losses=2, replaced=(NOW - 1,) * 2),
            [],
            {},
            "2 jobs wanted, none there; at most 3 lost jobs an hour are replaced, and 2 were: submit 1, withhold 1",
        ),
        (
            GroupState(wanted=1, ceiling=1),
            [job(1, JobState.RUNNING, workers=1)],
            {},
            "1 job wanted (others were cancelled from outside), 1 works: nothing to do",
        ),
        (
            GroupState(wanted=1),
            [job(1, JobState.RUNNING, workers=1, leaves_at=NOW + 50), job(2)],
            {"lead": 100},
            "1 job wanted, 1 waits, 1 leaves soon: nothing to do",
        ),
        (
            GroupState(wanted=1),
            [job(1, JobState.RUNNING, workers=1, leaves_at=NOW + 150), job(2)],
            {"lead": 100},
            "1 job wanted, 1 works, 1 waits; some leave soon: keep 1",
        ),
    ],
)
def test_why_in_words(state: GroupState, known: Sequence[JobRecord], more: dict[str, Any], because: str) -> None:
    assert plan(state, known, NOW, **more).because == because


def test_users_read_such_sentences() -> None:
    """Those of docs/concepts.md are said of what they describe."""
    working = [job(number, JobState.RUNNING, workers=1) for number in range(3)]
    waiting = [job(number) for number in range(3, 6)]
    plans = [
        plan(GroupState(wanted=6), [*working, waiting[0]], NOW),
        plan(GroupState(wanted=2), [*working, *waiting], NOW),
        plan(GroupState(wanted=4, strikes=3, broken=True), [], NOW),
    ]
    assert re.findall(r"^default: (.*)$", CONCEPTS.read_text(), re.MULTILINE) == [each.because for each in plans]
