"""kill -9, anywhere: no job is lost, none is started twice, nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from corral.local import record
from corral.local.crashes import VARIABLE

RAN = 'echo "$CORRAL_JOB_ID" >> ran'


def _ran(local: Any) -> list[str]:
    path = local.work / "ran"
    return sorted(path.read_text().split()) if path.exists() else []


def _until_ended(local: Any, **env: str) -> None:
    """Poll, as a cluster does: that is what notices that a dispatcher is missing, or not there yet."""
    deadline = time.monotonic() + 30
    while not set(local.states()) <= {"COMPLETED", "FAILED"} and time.monotonic() < deadline:
        local.run("status", env=env)
    assert time.monotonic() < deadline, local.rows()


@pytest.mark.parametrize("place", ["submitted", "marked", "forked", "before settling", "settled"])
def test_every_job_runs_once_though_the_queue_is_killed(local: Any, place: str) -> None:
    """The submission is killed after it wrote the jobs down, or the dispatcher anywhere between two steps."""
    jobs = local.submit(RAN, count=5, env={VARIABLE: f"KILL {place}"}, check=False)
    _until_ended(local)
    assert dict.fromkeys(jobs, "COMPLETED") == {job: row["state"] for job, row in local.rows().items()}
    assert sorted(jobs) == _ran(local)


@pytest.mark.parametrize(
    ("place", "runs", "state"),
    [
        ("before record", 0, "FAILED"),
        ("recorded", 0, "FAILED"),
        ("job ended", 1, "FAILED"),
        ("end recorded", 1, "COMPLETED"),
    ],
)
def test_a_job_whose_supervisor_is_killed_runs_at_most_once(local: Any, place: str, runs: int, state: str) -> None:
    """It is FAILED, with a reason, unless the supervisor had written down how it ended."""
    crash = {VARIABLE: f"KILL {place}"}
    [job] = local.submit(RAN, env=crash)
    _until_ended(local, **crash)
    row = local.rows()[job]
    assert state == row["state"]
    assert ("supervisor" in row["reason"]) is (state == "FAILED")
    assert [job] * runs == _ran(local)


def test_a_supervisor_that_lingers_is_waited_for(local: Any) -> None:
    """The dispatcher is killed and its newest supervisor is not on record yet: the job is not started again."""
    [job] = local.submit(RAN, env={VARIABLE: "KILL forked,STOP before record"})
    local.wait_for(job, until=lambda row: row["state"] == "RUNNING")
    stopped = local.stopped_with_lock()
    local.run("status")
    local.having_lock_open(count=2)
    # Nothing tells that the new dispatcher does nothing; a moment is enough for it to do the wrong thing.
    time.sleep(0.3)
    assert _ran(local) == []
    os.kill(stopped, signal.SIGCONT)
    local.wait_for(job)
    assert local.states() == ["COMPLETED"]
    assert _ran(local) == [job]


def test_a_dispatcher_that_is_about_to_leave_sees_new_work(local: Any) -> None:
    """The submission finds it listening, so nobody else would start the job."""
    local.submit("true", env={VARIABLE: "STOP leaving"})
    leaving = local.dispatcher()
    local.wait_until_stopped(leaving)
    [job] = local.submit(RAN)
    os.kill(leaving, signal.SIGCONT)
    local.wait_for(job)
    assert _ran(local) == [job]


def test_a_dispatcher_is_replaced_without_anybody_asking(local: Any) -> None:
    """A job that ends finds that its dispatcher is dead, and starts another: the jobs behind it run."""
    [first] = local.submit("echo up > up", local.gate("end"), directives=("--cores=4",))
    local.wait_for_file("up")
    [second] = local.submit("true")
    local.kill(local.dispatcher())
    local.open("end")
    local.wait_for()
    assert local.states(first, second) == ["COMPLETED", "COMPLETED"]


def test_a_new_dispatcher_takes_over_running_jobs(local: Any) -> None:
    """They run on, their ends are noticed, and they can be cancelled."""
    [ends] = local.submit("echo up > a", local.gate("end"), "exit 5")
    [cancelled] = local.submit("echo up > b; sleep 66")
    supervisors = [local.supervisor(job) for job in (ends, cancelled)]
    local.wait_for_file("a")
    local.wait_for_file("b")
    local.kill(local.dispatcher())
    local.run("cancel", cancelled)
    local.wait_for(cancelled)
    assert local.states(ends, cancelled) == ["RUNNING", "CANCELLED"]
    assert supervisors[0] == local.supervisor(ends)
    local.open("end")
    local.wait_for(ends)
    assert tuple(local.rows()[ends][key] for key in ("state", "exit_code")) == ("FAILED", 5)


@pytest.mark.parametrize("is_adopted", [False, True], ids=["child", "adopted"])
def test_no_process_of_a_job_survives_its_supervisor(local: Any, is_adopted: bool) -> None:
    """The dispatcher finds those that left the job's session, and those that lost the job's variables."""
    [job] = local.submit(
        "sleep 67 & echo $! > child; (setsid sleep 68 & echo $! > away); env -i sleep 69 & echo $! > bare;"
        "echo $$ > script; wait"
    )
    pids = [int(local.wait_for_file(name)) for name in ("child", "away", "bare", "script")]
    if is_adopted:
        local.kill(local.dispatcher())
        local.run("status")
        local.dispatcher()
    local.kill(local.supervisor(job))
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["reason"]) == ("FAILED", "its supervisor died")
    local.wait_until_dead(*pids)


def test_the_kernel_ends_a_script_whose_supervisor_is_killed(local: Any) -> None:
    """Even if there is no dispatcher to notice."""
    [job] = local.submit("echo $$ > script; exec sleep 72")
    script = int(local.wait_for_file("script"))
    local.kill(local.dispatcher())
    local.kill(local.supervisor(job))
    local.wait_until_dead(script)


def test_a_supervisor_that_is_asked_to_end_says_so(local: Any) -> None:
    """As when the machine is shut down: the job is ended in order, and lost to the machine."""
    [job] = local.submit("trap 'echo term > trapped; exit' TERM; echo up > up; sleep 70 & wait")
    local.wait_for_file("up")
    os.kill(local.supervisor(job), signal.SIGTERM)
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["reason"]) == ("NODE_FAILED", "its supervisor was asked to end (SIGTERM)")
    assert local.wait_for_file("trapped") == "term\n"


def test_jobs_of_an_earlier_boot_are_lost_to_the_machine(local: Any) -> None:
    """Their locks are gone and the record names another boot: NODE_FAILED; what waited runs now."""
    [lost] = local.submit("echo up > up; sleep 71", directives=("--cores=4",))
    [waited] = local.submit(RAN)
    local.wait_for_file("up")
    for pid in (local.dispatcher(), local.supervisor(lost)):
        local.kill(pid)
    path = next(path for path in record.folder(local.directory).iterdir() if path.name == lost)
    path.write_text(path.read_text().replace('"boot": "', '"boot": "another '))
    local.run("status")
    local.wait_for()
    assert tuple(local.rows()[lost][key] for key in ("state", "reason")) == ("NODE_FAILED", "the machine was restarted")
    assert [waited] == _ran(local)


def test_a_line_that_was_cut_was_never_written(tmp_path: Path) -> None:
    """A record whose supervisor died while it wrote says what stood there before."""
    path = tmp_path / "1_0"
    os.close(record.create(path))
    with path.open("a") as file:
        file.write('{"outcome": ["COMPL')
    found = record.read(path)
    assert found is not None
    assert (found.is_alive, found.is_of_this_boot, found.outcome) == (False, True, None)


def test_killing_dispatchers_at_random_loses_and_doubles_nothing(local: Any) -> None:
    """A hundred jobs, and a dispatcher that is killed again and again while they go through."""
    jobs = local.submit(RAN, count=100)
    for _ in range(8):
        for pid in local.dispatchers():
            local.kill(pid)
        local.run("status")
    _until_ended(local)
    assert {"COMPLETED"} == set(local.states())
    assert sorted(jobs) == _ran(local)


def test_a_dispatcher_started_inside_a_job_outlives_it(local: Any) -> None:
    """A command inside a job replaces the dead dispatcher: that one, and what it starts, is nobody's leftover."""
    status = f"{sys.executable} -P -m corral.local status --directory={local.directory} </dev/null >answer"
    [first] = local.submit("echo up > up", local.gate("go"), status, local.gate("end"), directives=("--cores=3",))
    local.wait_for_file("up")
    local.kill(local.dispatcher())
    local.open("go")
    inner = local.dispatcher()
    [second] = local.submit("echo up > second", local.gate("stop"))
    local.wait_for_file("second")
    local.open("end")
    local.wait_for(first)
    assert local.states(first, second) == ["COMPLETED", "RUNNING"]
    assert inner == local.dispatcher()
    local.open("stop")
    local.wait_for(second)
    assert local.states(second) == ["COMPLETED"]
