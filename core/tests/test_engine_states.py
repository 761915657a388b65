"""The engine as a state machine: whatever happens in whatever order, it and the queue come to agree.

The queue, its commands and its jobs are real; the jobs are programs that wait to be told how to end, and start no
workers, so that hundreds of them cost little.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from corral import Cluster, JobState, hookimpl, mapped
from corral.cluster import cleanup
from corral.cluster.registry import Entry, entries
from corral.jobs.group_state import GroupState
from corral.jobs.record import JobRecord
from corral.jobs.table import Roster
from corral.jobs.transitions import presumed
from corral.plugin.values import Command

#: What becomes of one command of the batch system.
FAULTS = {
    "fails": 'echo "corral.local: try again: the disk is busy" >&2; exit 75',
    "works and says nothing of it": '"$@" >/dev/null; echo "corral.local: try again: the disk is busy" >&2; exit 75',
    "works and fails in words that nobody knows": '"$@" >/dev/null; echo "the dog ate it" >&2; exit 3',
    "works and babbles": '"$@" >/dev/null; echo "<html>502</html>"',
}

#: By phase, as `JobRecord.phase` says it.
MAY_BECOME = dict(re.findall(r"^ *([A-Z]{5,}) (.*)$", JobRecord.phase.__doc__ or "", re.MULTILINE))

JOB = """#!/bin/sh
end="{folder}/$CORRAL_JOB_ID"
while [ ! -e "$end" ]; do sleep 0.1; done
exit "$(cat "$end")"
"""


#: A controller that fails over: it does nothing, and answers with success that there is nothing.
NOTHING = "exit 0"


class Trouble:
    """A site whose commands go wrong when they are told to."""

    def __init__(self) -> None:
        self.coming: deque[str] = deque()
        #: So many commands more do nothing and print nothing, with success.
        self.silences = 0
        #: No cancellation works.
        self.spares_jobs = False

    def change(self, command: Command) -> Command:
        if self.silences:
            self.silences -= 1
            return evolve(command, argv=["sh", "-c", NOTHING])
        if not self.coming:
            return command
        return evolve(command, argv=["sh", "-c", FAULTS[self.coming.popleft()], "sh", *command.argv])

    def spare(self, command: Command) -> Command:
        return evolve(command, argv=["sh", "-c", FAULTS["fails"]])

    @hookimpl(wrapper=True)
    def submit(self, script: Any, count: Any) -> Any:
        return mapped((yield), self.change)

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return mapped((yield), self.change)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Any) -> Any:
        return mapped((yield), self.spare if self.spares_jobs else self.change)

    @hookimpl(wrapper=True)
    def find_jobs(self, name: Any) -> Any:
        return mapped((yield), self.change)


def watching(unlawful: list[str]) -> type[Roster]:
    """A roster that notes each step from phase to phase which `JobRecord.phase` does not name."""

    class Watching(Roster):
        def put(self, record: JobRecord) -> JobRecord:
            if (before := self.get(record.id)) is not None and before.phase is not record.phase:
                if record.phase.name not in MAY_BECOME[before.phase.name]:
                    unlawful.append(f"{before!r} became {record!r}")
            return super().put(record)

    return Watching


class Life(RuleBasedStateMachine):
    """What users, operators, jobs and commands do to a cluster."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="corral-test-"))
        program = self.folder / "python"
        program.write_text(JOB.format(folder=self.folder))
        program.chmod(0o755)
        self.trouble = Trouble()
        self.wanted = self.most = 0
        options = {"directory": str(self.folder / "queue"), "cores": 4, "memory": "4GB"}
        self.cluster = Cluster(
            backend="local", backend_options=options, memory="100MB", interface="lo", python=str(program),
            plugins=[self.trouble], shared_directory=self.folder / "shared",
        )  # fmt: skip
        assert self.cluster._engine is not None
        self.unlawful: list[str] = []
        self.cluster._engine.roster.__class__ = watching(self.unlawful)

    # --- what happens -------------------------------------------------------------------------------------------

    @rule(jobs=st.integers(0, 6))
    def scale(self, jobs: int) -> None:
        self.wanted, self.most = jobs, max(self.most, jobs)
        self.cluster.scale(jobs=jobs)

    @rule(faults=st.lists(st.sampled_from(list(FAULTS)), min_size=1, max_size=3))
    def commands_go_wrong(self, faults: list[str]) -> None:
        self.trouble.coming.extend(faults)

    # What is drawn must not depend on what the queue does, or hypothesis cannot draw the same again.
    @rule(number=st.integers(0, 5))
    def an_operator_cancels_a_job(self, number: int) -> None:
        if living := sorted(self.living()):
            self.local("cancel", living[number % len(living)])

    @rule(number=st.integers(0, 5), code=st.sampled_from([0, 1, 127]))
    def a_job_ends(self, number: int, code: int) -> None:
        if living := sorted(self.living()):
            (self.folder / living[number % len(living)]).write_text(str(code))

    @rule(commands=st.integers(1, 3))
    def commands_answer_nothing(self, commands: int) -> None:
        """With success, while the queue is as it was: nothing comes of it."""
        self.scale(jobs=self.wanted)
        self.time_passes()
        there = self.living().keys()
        if there:
            self.trouble.silences = commands
            while self.trouble.silences:
                time.sleep(0.1)
            self.time_passes()
            assert self.living().keys() == there
            assert self.state().wanted == self.wanted

    @rule()
    def time_passes(self) -> None:
        """Until the queue and the cluster agree: which jobs there are, in which state, and how many are wanted."""
        deadline = time.monotonic() + 60
        while problem := self.disagreement():
            assert time.monotonic() < deadline, problem
            time.sleep(0.1)

    # --- what must be true --------------------------------------------------------------------------------------

    @invariant()
    def never_more_jobs_than_asked_for(self) -> None:
        """At no time, whatever failed."""
        if hasattr(self, "cluster"):
            assert len(self.living()) <= self.most

    @invariant()
    def phases_follow_each_other_as_is_written(self) -> None:
        if hasattr(self, "cluster"):
            assert self.unlawful == []

    def disagreement(self) -> str:
        there = self.living()
        known = {job.id.text: job for job in self.cluster.jobs if not job.has_ended}
        said = f"queue: {there}; cluster: {self.cluster.jobs!r}; {self.cluster!r}"
        if set(there) != set(known):
            return f"different jobs: {said}"
        if any(JobState[there[job_id]] is not known[job_id].state for job_id in there):
            return f"different states: {said}"
        group = self.state()
        if group.broken:
            assert not any(JobState[state].is_waiting for state in there.values()) or self.trouble.coming
        # Cancelled from outside lowers the target; a breaker, a refusal and the hour's allowance stop it.
        is_held_back = group.is_stopped or group.losses > 0
        if len(there) != group.wanted and not (is_held_back and len(there) < group.wanted):
            return f"{group.wanted} wanted: {said}"
        return ""

    def state(self) -> GroupState:
        assert self.cluster._engine is not None
        return self.cluster._engine.groups["default"].state

    def living(self) -> dict[str, str]:
        """State by id, of jobs that the queue has and that nobody has ended."""
        rows = [row for row in map(json.loads, self.local("status").splitlines()) if "job" in row]
        return {row["job"]: row["state"] for row in rows if row["state"] in ("PENDING", "RUNNING", "HELD")}

    def local(self, name: str, *words: str) -> str:
        argv = [sys.executable, "-m", "corral.local", name, f"--directory={self.folder / 'queue'}", *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        self.trouble.coming.clear()
        self.trouble.silences = 0
        self.cluster.close()
        left = self.living()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert left == {}
        assert self.unlawful == []


@pytest.mark.timeout(600)
def test_the_engine_and_the_queue_agree_in_the_end(state_directory: Path) -> None:
    """Users scale, operators cancel, jobs fail, commands fail: nothing is lost, doubled or left."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=8,
            stateful_step_count=10,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],  # to shrink takes hours; the steps are printed
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def life(state_directory: Path) -> Iterator[Life]:
    life = Life()
    life.open()
    yield life
    life.teardown()


def test_jobs_that_could_not_be_cancelled_count_until_they_can(life: Life) -> None:
    """Scaled down and up again while cancellations fail: the queue never has more than was asked for."""
    life.scale(jobs=2)
    life.time_passes()
    life.trouble.spares_jobs = True
    life.scale(jobs=0)
    life.scale(jobs=6)
    while len(life.living()) < 6:
        time.sleep(0.1)
    life.never_more_jobs_than_asked_for()
    life.trouble.spares_jobs = False
    life.time_passes()
    life.never_more_jobs_than_asked_for()


def test_jobs_of_a_submission_that_seemed_to_fail_are_given_up(life: Life) -> None:
    """Its command worked and did not say so; when nothing is wanted any more, they are found and cancelled."""
    life.trouble.coming.extend(["works and says nothing of it", "fails", "fails"])
    life.scale(jobs=2)
    while not life.living():
        time.sleep(0.1)
    life.scale(jobs=0)
    life.time_passes()
    assert life.living() == {}


def test_a_silent_submission_is_no_refusal(life: Life) -> None:
    """It is looked for by its name, and repeated."""
    life.trouble.silences = 1
    life.scale(jobs=2)
    while len(life.living()) < 2:
        time.sleep(0.1)
    life.time_passes()
    assert not life.state().rejected


def test_jobs_that_are_not_listed_for_a_moment_are_ended_when_the_cluster_closes(life: Life) -> None:
    """Their cancellation was answered with success, and lost: they are seen again, and cancelled again."""
    life.scale(jobs=6)
    life.time_passes()
    life.trouble.silences = 3
    life.cluster.close()
    assert life.living() == {}
    assert list(entries()) == []


def test_jobs_that_are_not_listed_while_the_cluster_closes_are_not_forgotten(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing says that they have ended: closing says so, and what it leaves to be seen leads to them."""
    life.scale(jobs=6)
    life.time_passes()
    assert registered() is not None
    there = life.living()
    life.trouble.silences = 1000
    life.cluster.close()
    life.trouble.silences = 0
    assert life.living() == there
    assert "6 job(s) are not listed by the batch system, which never said that they ended" in caplog.text
    assert "`corral clean` will look for them again" in caplog.text
    entry = registered()
    assert entry is not None
    assert {job_id.text for job_id in asyncio.run(cleanup.find(entry))} == there.keys()
    life.local("cancel", *there)


def test_jobs_whose_absence_was_believed_are_looked_for_when_the_cluster_closes(life: Life) -> None:
    """The batch system had forgotten them for longer than anybody waits; it remembers them, and they are ended."""
    life.scale(jobs=2)
    life.time_passes()
    engine = life.cluster._engine
    assert engine is not None
    for job in engine.jobs:
        engine.roster.put(presumed(job, engine.now(), lists_none=True))
    life.cluster.close()
    assert life.living() == {}
    assert all(job.has_ended for job in life.cluster.jobs)


def registered() -> Entry | None:
    """The cluster as other processes see it."""
    return next(iter(entries()), None)
