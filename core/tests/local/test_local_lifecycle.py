"""What happens to jobs, from submission to the end, seen through the commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from corral.local.queue import KEPT


def test_a_job_runs_and_completes(local: Any) -> None:
    """It is PENDING or RUNNING at first and COMPLETED with 0 in the end, with its times and its host."""
    [job] = local.submit("echo hello > greeting")
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["exit_code"], row["signal"], row["reason"]) == ("COMPLETED", 0, None, "")
    assert row["submitted"] <= row["started"] <= row["ends"]
    assert os.uname().nodename == row["host"]
    assert (local.work / "greeting").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("line", "exit_code", "number"),
    [("exit 3", 3, None), ("kill -SEGV $$", None, signal.SIGSEGV), ("kill -KILL $$", None, signal.SIGKILL)],
)
def test_a_job_that_fails_says_how(local: Any, line: str, exit_code: int | None, number: int | None) -> None:
    """An exit code and a signal are told apart."""
    [job] = local.submit(line)
    local.wait_for(job)
    row = local.rows()[job]
    assert ("FAILED", exit_code, number) == (row["state"], row["exit_code"], row["signal"])


def test_a_job_sees_a_clean_environment(local: Any) -> None:
    """Of the submitter's variables a job sees what a login needs; it has no terminal and its own process group."""
    [job] = local.submit(
        "env > seen; ps -o pgid=,sid= -p $$ >> seen; tty >> seen; echo $$ >> seen",
        env={"SECRET": "x", "TMPDIR": "/tmp", "LC_ALL": "C", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    local.wait_for(job)
    *variables, groups, tty, pid = (local.work / "seen").read_text().splitlines()
    names = {line.partition("=")[0] for line in variables if not line.startswith(("CORRAL_", "_="))}
    assert names <= {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "PWD", "SHLVL", "OLDPWD"}
    assert {"PATH", "HOME", "TMPDIR"} <= names
    assert [pid, pid] == groups.split()
    assert tty == "not a tty"


def test_a_job_inherits_no_file_from_its_queue(local: Any) -> None:
    """Neither the database, nor the lock, nor the pipe, nor the record is open in a job."""
    [job] = local.submit("readlink /proc/$$/fd/* > files")
    local.wait_for(job)
    # Of its own, bash has the script open, and here the file that it writes to.
    own = {"/dev/null", str(local.work / "files"), str(local.directory / "running" / f"{job}.sh")}
    assert set() == set((local.work / "files").read_text().splitlines()) - own


def test_a_job_learns_its_id(local: Any) -> None:
    """CORRAL_JOB_ID is the id that submit answered, for each element of an array."""
    jobs = local.submit('echo "$CORRAL_JOB_ID" > "$CORRAL_JOB_ID"', count=3)
    local.wait_for(*jobs)
    assert [f"{job}\n" for job in jobs] == [(local.work / job).read_text() for job in jobs]


def test_output_goes_to_the_log(local: Any) -> None:
    """Both streams, in a file of the job's own."""
    logs = local.folder / "logs"
    logs.mkdir()
    jobs = local.submit("echo out; echo err >&2", directives=(f"--output={logs}/{{id}}.log",), count=2)
    local.wait_for(*jobs)
    assert {f"{job}.log": "out\nerr\n" for job in jobs} == {path.name: path.read_text() for path in logs.iterdir()}


def test_a_missing_log_folder_fails_the_job_with_a_reason(local: Any) -> None:
    """The job does not run, and its status says what is missing."""
    [job] = local.submit("touch ran", directives=("--output=/no/such/folder/{id}.log",))
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["exit_code"]) == ("FAILED", None)
    assert f"cannot write the log /no/such/folder/{job}.log: No such file or directory" == row["reason"]
    assert not (local.work / "ran").exists()


def test_an_interpreter_that_is_missing_is_in_the_log(local: Any) -> None:
    """As in a shell: exit code 127, and a line that says why."""
    done = local.run(
        "submit", "--cores=1", stdin=f"#!/no/such/python\n#CORRAL --output={local.work}/{{id}}.log\nprint()\n"
    )
    job = f"{json.loads(done.stdout.splitlines()[0])['array']}_0"
    local.wait_for(job)
    assert local.rows()[job]["exit_code"] == 127
    assert "No such file or directory: '/no/such/python'" in (local.work / f"{job}.log").read_text()


def test_the_interpreter_gets_one_argument_from_the_first_line(local: Any) -> None:
    """``#!/usr/bin/env bash`` works as it does when the kernel reads it."""
    local.run("submit", "--cores=1", stdin="#!/usr/bin/env bash\necho ${BASH_VERSION%%.*} > bash\n")
    assert int(local.wait_for_file("bash")) >= 3


def test_jobs_start_in_order_as_far_as_there_is_room(local: Any) -> None:
    """First in, first out: a small job does not overtake a big one that waits for room."""
    [small] = local.submit(local.gate("stop"), directives=("--cores=3",))
    local.wait_for(small, until=lambda row: row["state"] == "RUNNING")
    [big] = local.submit("true", directives=("--cores=4",))
    [tiny] = local.submit("true", directives=("--cores=1",))
    local.run("status")
    assert [local.rows()[job]["reason"] for job in (big, tiny)] == ["Resources", "Priority"]
    assert local.states(big, tiny) == ["PENDING", "PENDING"]


@pytest.mark.parametrize(
    ("directive", "at_once"), [("--cores=2", 2), ("--memory=300MB", 3), ("--gpus=1", 2), ("--name=small", 4)]
)
def test_never_more_runs_than_there_is_room_for(local: Any, directive: str, at_once: int) -> None:
    """Cores, memory and GPUs are counted; each job notes how many run beside it."""
    local.submit(
        'mkdir "r$CORRAL_JOB_ID"; ls -d r* | wc -l >> seen',
        'until [ -e go ]; do sleep 0.02; done; rmdir "r$CORRAL_JOB_ID"',
        directives=(directive,),
        options=("--cores=4", "--memory=1000000000", "--gpus=2"),
        count=8,
    )
    local.wait_for_file("seen", lines=at_once)
    assert at_once == local.states().count("RUNNING")
    (local.work / "go").touch()
    local.wait_for()
    assert at_once == max(map(int, (local.work / "seen").read_text().split()))


def test_gpus_are_given_to_one_job_each(local: Any) -> None:
    """CUDA_VISIBLE_DEVICES differs between jobs that run at once, and hides GPUs from those that asked for none."""
    for name, directives in (("a", ("--gpus=2",)), ("b", ("--gpus=1",)), ("c", ())):
        local.submit(
            f"echo $CUDA_VISIBLE_DEVICES > {name}; until [ -e go ]; do sleep 0.02; done",
            directives=directives,
            options=("--cores=4", "--gpus=3"),
        )
    seen = [local.wait_for_file(name).strip() for name in "abc"]
    (local.work / "go").touch()
    local.wait_for()
    assert seen == ["0,1", "2", ""]


@pytest.mark.parametrize(
    ("directives", "words"),
    [
        (("--cores=5",), "asks for 5 cores and the queue has 4"),
        (("--memory=1001MB",), "asks for 1001000000 bytes of memory and the queue has 1000000000"),
        (("--gpus=1",), "asks for 1 GPUs and the queue has 0"),
        (("--cores=0",), "needs at least one core"),
        (("--queue=nightly",), "queue 'nightly' does not exist"),
        (("--qos=high",), "unknown directive '--qos=high'"),
        (("--time=00:30",), "--time=00:30: not a walltime"),
        (("--memory=lots",), "--memory=lots: not an amount of memory"),
    ],
)
def test_what_can_never_run_is_refused(local: Any, directives: tuple[str, ...], words: str) -> None:
    """At submission, with the reason; nothing is put in line."""
    done = local.run(
        "submit",
        *("--cores=4", "--memory=1000000000", "--gpus=0"),
        stdin="\n".join(["#!/bin/sh", *(f"#CORRAL {directive}" for directive in directives), "true", ""]),
        check=False,
    )
    assert (done.returncode, done.stdout) == (os.EX_DATAERR, "")
    assert done.stderr.startswith("corral.local: refused: ")
    assert words in done.stderr
    assert local.rows() == {}


def test_a_submission_of_no_jobs_is_refused(local: Any) -> None:
    """There is always at least one."""
    assert local.run("submit", "--count=0", stdin="#!/bin/sh\n", check=False).returncode == os.EX_DATAERR


@pytest.mark.parametrize("text", ["echo no interpreter\n", "#!\n", ""])
def test_a_script_without_an_interpreter_is_refused(local: Any, text: str) -> None:
    """A job script begins with ``#!``."""
    done = local.run("submit", stdin=text, check=False)
    assert done.returncode == os.EX_DATAERR
    assert "names no interpreter" in done.stderr


def test_a_thousand_jobs_are_one_quick_submission(local: Any) -> None:
    """One command, one transaction, one array: not a thousand times as long as one job."""
    began = time.monotonic()
    local.submit("true", directives=("--hold",), count=1)
    between = time.monotonic()
    jobs = local.submit("true", directives=("--hold",), count=1000)
    assert time.monotonic() - between < 20 * (between - began)
    assert local.states(*jobs) == ["HELD"] * 1000
    assert {f"{jobs[0].partition('_')[0]}_{element}" for element in range(1000)} == set(jobs)


def test_capacity_stays_as_it_was_named_last(local: Any) -> None:
    """A submission that names none keeps it; one that lowers it lets a job that is too big wait, not block."""
    local.submit("true", options=("--cores=8",), directives=("--hold",))
    [big] = local.submit("true", options=(), directives=("--cores=8", "--hold"))
    [small] = local.submit("true", options=("--cores=2",))
    local.run("release", big)
    local.wait_for(small)
    assert local.rows()[big]["reason"] == "Capacity: the queue has become too small for it"
    assert json.loads(local.run("queues").stdout.splitlines()[0])["cores"] == 2


# --- ends that somebody wants -----------------------------------------------------------------------------------


def test_walltime_ends_a_job(local: Any) -> None:
    """SIGTERM first: the job can tidy up; its state is TIMEOUT even if it ends well then."""
    [job] = local.submit(
        "trap 'echo term > trapped; exit 0' TERM; echo up > up; sleep 60 & wait", directives=("--time=1",)
    )
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["exit_code"], row["reason"]) == ("TIMEOUT", 0, "its walltime of 1 s was over")
    assert 1 <= row["ends"] - row["started"] < 4
    assert (local.work / "trapped").read_text() == "term\n"


def test_a_job_that_ignores_sigterm_is_killed(local: Any) -> None:
    """After the grace time."""
    [job] = local.submit("trap '' TERM; echo up > up; while :; do sleep 1; done", options=("--cores=1", "--grace=0.3"))
    local.wait_for_file("up")
    local.run("cancel", job)
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["signal"]) == ("CANCELLED", signal.SIGKILL)


def test_cancelling_pending_jobs_is_immediate(local: Any) -> None:
    """They are CANCELLED when the command returns, and never start."""
    [blocker] = local.submit("echo up > up; sleep 60", directives=("--cores=4",))
    jobs = local.submit("touch ran", count=5)
    local.wait_for_file("up")
    local.run("cancel", stdin="\n".join(jobs))
    assert local.states(*jobs) == ["CANCELLED"] * 5
    local.run("cancel", blocker)
    local.wait_for()
    assert not (local.work / "ran").exists()


def test_cancelling_a_running_job_ends_all_its_processes(local: Any) -> None:
    """All hear SIGTERM once, also what left the process group: nobody has to be killed."""
    [job] = local.submit(
        "trap 'echo term >> heard; exit' TERM; (setsid sleep 61 & echo $! > away); sleep 62 & echo $! > child; wait",
        options=("--cores=1", "--grace=60"),
    )
    pids = [int(local.wait_for_file(name)) for name in ("away", "child")]
    local.run("cancel", job)
    local.wait_for(job)
    row = local.rows()[job]
    assert (row["state"], row["exit_code"]) == ("CANCELLED", 0)
    assert (local.work / "heard").read_text() == "term\n"
    assert [pid for pid in pids if local.is_alive(pid)] == []


def test_a_whole_array_is_cancelled_by_its_number(local: Any) -> None:
    """``cancel 12`` means all elements of 12."""
    jobs = local.submit("sleep 60", count=6)
    local.run("cancel", jobs[0].partition("_")[0])
    local.wait_for()
    assert {"CANCELLED"} == set(local.states())


def test_cancelling_what_is_gone_is_no_error(local: Any) -> None:
    """Ended, unknown, or not even an id."""
    [job] = local.submit("exit 4")
    local.wait_for(job)
    done = local.run("cancel", job, "999_0", "nonsense", "7[]")
    assert (done.returncode, done.stderr) == (0, "")
    assert local.states(job) == ["FAILED"]


def test_what_a_script_leaves_behind_is_ended_with_it(local: Any) -> None:
    """In its process group or not, adopted by another parent or not."""
    [job] = local.submit(
        "sleep 63 & echo $! > child; (setsid bash -c 'sleep 64 & echo $! > away; wait' &)", local.gate("end")
    )
    pids = [int(local.wait_for_file(name)) for name in ("child", "away")]
    local.open("end")
    local.wait_for(job)
    assert [pid for pid in pids if local.is_alive(pid)] == []


def test_a_held_job_waits_for_its_release(local: Any) -> None:
    """``hold`` and ``--hold`` keep a job out of line; jobs behind it pass; ``release`` puts it back."""
    [held] = local.submit("true", directives=("--hold",))
    [other] = local.submit("true")
    local.wait_for(other)
    assert local.states(held) == ["HELD"]
    local.run("release", held)
    local.wait_for(held)
    assert local.states(held) == ["COMPLETED"]


def test_hold_stops_a_pending_job(local: Any) -> None:
    """But no running one."""
    [running] = local.submit("echo up > up", local.gate("end"), directives=("--cores=4",))
    [pending] = local.submit("true")
    local.wait_for_file("up")
    local.run("hold", running, pending)
    assert local.states(running, pending) == ["RUNNING", "HELD"]


def test_a_requeued_job_keeps_its_id(local: Any) -> None:
    """It is ended, waits again, and its next attempt has the next number."""
    [job] = local.submit('echo $CORRAL_LOCAL_ATTEMPT > "attempt$CORRAL_LOCAL_ATTEMPT"; sleep 60')
    assert local.wait_for_file("attempt0") == "0\n"
    local.run("requeue", job)
    assert local.wait_for_file("attempt1") == "1\n"
    assert local.states(job) == ["RUNNING"]


# --- answers ----------------------------------------------------------------------------------------------------


def test_status_lists_what_is_known(local: Any) -> None:
    """Unknown ids are left out; the last line counts the rows; ids may be arrays."""
    jobs = local.submit("true", count=2)
    local.wait_for()
    lines = local.run("status", stdin=f"{jobs[1]}\n999_0\n").stdout.splitlines()
    assert [jobs[1]] == [json.loads(line)["job"] for line in lines[:-1]]
    assert json.loads(lines[-1]) == {"rows": 1}
    assert '{"rows": 2}' in local.run("status", jobs[0].partition("_")[0]).stdout


def test_find_lists_living_jobs_of_exactly_that_name(local: Any) -> None:
    """Neither ended ones, nor names that only begin so."""
    local.submit("true", directives=("--name=dask-1",))
    local.wait_for()
    [wanted] = local.submit("true", directives=("--name=dask-1", "--hold"))
    local.submit("true", directives=("--name=dask-11", "--hold"))
    lines = local.run("find", "dask-1").stdout.splitlines()
    assert [wanted] == [json.loads(line)["job"] for line in lines[:-1]]


def test_ended_jobs_are_forgotten_after_an_hour(local: Any) -> None:
    """The next submission forgets them, and their ids are not given again."""
    [old] = local.submit("true")
    local.wait_for()
    queue = local.queue()
    queue.connection.execute("UPDATE jobs SET ended = ended - ?", (KEPT + 1,))
    queue.close()
    [new] = local.submit("true", directives=("--hold",))
    assert [new] == list(local.rows())
    assert new != old


def test_commands_and_supervisors_start_with_the_standard_library_alone() -> None:
    """And with little of it: a slow file system would make every import slow."""
    program = "import sys, corral.local.__main__, corral.local.dispatcher; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"sqlite3", "corral"} <= loaded
    assert not loaded & {"attr", "attrs", "pluggy", "dask", "distributed", "platformdirs", "asyncio", "subprocess"}


# --- processes --------------------------------------------------------------------------------------------------


def test_an_empty_queue_leaves_no_process(local: Any) -> None:
    """The dispatcher waits a moment for more work and goes; a held job does not keep it."""
    local.submit("true", count=3)
    local.submit("true", directives=("--hold",))
    local.dispatcher()
    local.wait_for_nobody()
    assert sorted(["COMPLETED"] * 3 + ["HELD"]) == sorted(local.states())


def test_a_job_survives_the_session_that_submitted_it(local: Any, tmp_path: Path) -> None:
    """Neither the end of the submitter, nor a signal to its process group, nor a hang-up reaches the job."""
    command = (
        f"{sys.executable} -P -m corral.local submit --directory={local.directory} --cores=1 < {tmp_path}/job.sh; "
        "kill -HUP 0; sleep 60"
    )
    (tmp_path / "job.sh").write_text(f"#!/bin/bash\necho up > up\n{local.gate('end')}\necho done > done\n")
    # Under nohup a hang-up would be ignored, by this shell as well.
    shell = ["env", "--default-signal=HUP", "bash", "-c", command]
    submitter = subprocess.Popen(shell, cwd=local.work, start_new_session=True)
    assert submitter.wait(30) == -signal.SIGHUP
    local.wait_for_file("up")
    local.open("end")
    assert local.wait_for_file("done") == "done\n"
    local.wait_for()
    assert local.states() == ["COMPLETED"]


def test_many_submitters_at_once_lose_and_double_nothing(local: Any) -> None:
    """Twenty processes submit ten jobs each to a queue that does not exist yet."""
    command = [sys.executable, "-P", "-m", "corral.local", "submit", f"--directory={local.directory}"]
    text = '#!/bin/sh\necho "$CORRAL_JOB_ID" >> ran\n'
    submitters = [
        subprocess.Popen(
            [*command, "--count=10", "--cores=8"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=local.work,
            text=True,
        )
        for _ in range(20)
    ]
    for submitter in submitters:
        assert submitter.stdin is not None
        submitter.stdin.write(text)
        submitter.stdin.close()
    for submitter in submitters:
        assert submitter.stdout is not None
        assert submitter.stderr is not None
        with submitter.stdout, submitter.stderr:
            assert (submitter.stderr.read(), submitter.wait(60)) == ("", 0)
    local.wait_for()
    rows = local.rows()
    assert len(rows) == 200
    assert {"COMPLETED"} == {row["state"] for row in rows.values()}
    assert sorted(rows) == sorted((local.work / "ran").read_text().split())


def test_the_jobs_of_a_queue_that_is_removed_are_ended(local: Any) -> None:
    """Somebody removes the directory: dispatcher, supervisor and job go as well."""
    local.submit("echo $$ > up; sleep 65")
    pid = int(local.wait_for_file("up"))
    subprocess.run(["rm", "-rf", str(local.directory)], check=True)
    local.wait_for_nobody()
    assert not local.is_alive(pid)
