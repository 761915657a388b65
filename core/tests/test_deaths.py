"""Whatever dies leaves its cause where the user looks: in the log, in `cluster.failures`, in `corral logs`."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner
from distributed import Client, KilledWorker, WorkerPlugin

from corral import Cluster, JobState, WorkerGroup, __version__, hookimpl, mapped
from corral.cli.logs import logs as logs_command
from corral.cluster import kept_logs
from corral.errors import BudgetSpent, JobsFailed, NeverStarts
from corral.host.home import Home
from corral.jobs.record import JobFailure, JobRecord, Outcome
from corral.jobs.transitions import connect, disconnect, observe
from corral.jobs.worker_failures import Cause, WorkerFailure
from corral.plugin.values import Command, JobId, JobStatus
from corral.remote.messages import State, error_to_plain, to_error, to_plain, to_state

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters on a queue of the test's own, with eight cores."""

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
        return Cluster(
            **{"backend": "local", "memory": "400MB", "interface": "lo", "backend_options": options, **arguments}
        )

    return make


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """The messages of corral's that match a pattern."""
    caplog.set_level(logging.INFO, "corral")

    def matching(pattern: str) -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name.startswith("corral")]
        return [message for message in messages if re.search(pattern, message, re.DOTALL)]

    return matching


def eventually(condition: Callable[[], object], complaint: Callable[[], object] = lambda: "") -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


# --- workers that die below a living launcher -------------------------------------------------------------------


def use_more_and_more_memory() -> None:
    held = []
    while True:
        held.append(bytearray(10_000_000))


def read_address_zero() -> None:
    ctypes.string_at(0)


def leave_with_three() -> None:
    print("last words of a task")
    os._exit(3)


DEATHS = {
    "memory": (use_more_and_more_memory, r"over the memory limit of 381\.47 MiB", "memory="),
    "segfault": (read_address_zero, r"signal 11 \(SIGSEGV\)", "compiled code"),
    "exit": (leave_with_three, r"exit code 3", "os._exit"),
    "sys.exit": (sys.exit, r"exit code 0", "sys.exit"),
}


@pytest.mark.parametrize("kind", DEATHS)
def test_a_worker_that_dies_tells_its_cause_once(
    kind: str, cluster: Callable[..., Cluster], said: Callable[[str], list[str]]
) -> None:
    """KilledWorker says nothing; the failures have cause, task, host and job, and one warning has the cure."""
    task, cause, cure = DEATHS[kind]
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        with pytest.raises(KilledWorker):
            client.submit(task, key=f"{kind}-task").result(timeout=60)
        eventually(lambda: len(c.failures) >= 4, lambda: c.failures)
        for failure in c.failures:
            assert isinstance(failure, WorkerFailure)
            assert re.match(cause, failure.cause)
            assert failure.tasks == (f"{kind}-task",)
            assert (failure.job.id, failure.host) == (c.jobs[0].id, c.jobs[0].hosts[0])
            assert failure.worker.startswith(failure.job.id.text)
            assert failure.outcome is Outcome.DIED
            assert cure in failure.hint
            assert re.search(cause, str(failure))
        [warning] = said(rf"died: {cause}")
        assert cure in warning
        assert f"{kind}-task" in warning
        assert f"corral logs {c.jobs[0].id}" in warning
        assert c.jobs[0].worker_deaths >= 4
        # The job goes on.
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        assert not said("jobs? .* failed"), "no job has failed"


def test_a_segfault_leaves_the_lines_of_python(cluster: Callable[..., Cluster]) -> None:
    """The log, and what the failure quotes of it, say where the crash was."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        with pytest.raises(KilledWorker):
            client.submit(read_address_zero).result(timeout=60)
        eventually(lambda: c.failures)
        assert any("read_address_zero" in line for line in c.failures[0].log_tail), c.failures[0]


def test_evidence_is_of_one_death(cluster: Callable[..., Cluster]) -> None:
    """What the log says of the death before it is in that one's evidence."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        with pytest.raises(KilledWorker):
            client.submit(read_address_zero).result(timeout=60)
        eventually(lambda: len(c.failures) >= 4, lambda: c.failures)
        for failure in c.failures:
            assert sum("died: signal 11" in line for line in failure.log_tail) <= 1, failure


def test_a_module_that_the_job_lacks_is_named(
    cluster: Callable[..., Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], list[str]]
) -> None:
    """Workers that cannot read a task close, and distributed says that their connection broke."""
    (tmp_path / "only_here.py").write_text("def increment(number):\n    return number + 1\n")
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        monkeypatch.syspath_prepend(tmp_path)
        import only_here  # type: ignore[import-not-found]

        with pytest.raises(KilledWorker):
            client.submit(only_here.increment, 1, key="needs-module").result(timeout=60)
        eventually(lambda: len(c.failures) >= 3, lambda: c.failures)
        failure = c.failures[0]
        assert failure.cause == "the job's Python has no module 'only_here'"
        assert isinstance(failure, WorkerFailure)
        assert failure.tasks == ("needs-module",)
        assert "client.upload_file()" in failure.hint
        assert len(said("has no module 'only_here'")) == 1
        client.wait_for_workers(1, timeout=60)


def test_restarts_that_somebody_asks_for_are_no_deaths(cluster: Callable[..., Cluster]) -> None:
    """A client restarts workers, or retires them: nobody died."""
    with cluster(cores=2, processes=2) as c, Client(c) as client:
        c.scale(jobs=1)
        client.wait_for_workers(2, timeout=60)
        client.restart(timeout=60)
        client.wait_for_workers(2, timeout=60)
        name = next(iter(client.scheduler_info()["workers"].values()))["name"]
        client.restart_workers([name], timeout=60)
        client.wait_for_workers(2, timeout=60)
        assert not c.failures


def test_a_worker_that_says_nothing_for_too_long_is_told(cluster: Callable[..., Cluster]) -> None:
    """distributed starts a worker again that has not answered for its worker-ttl."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        assert c.scheduler is not None

        async def time_out() -> None:
            assert c.scheduler is not None
            [worker] = c.scheduler.workers.values()
            worker.last_seen = time.time() - 1000
            await c.scheduler.check_worker_ttl()

        c.sync(time_out)
        eventually(lambda: c.failures)
        assert "said nothing for 300 s" in c.failures[0].cause


def test_the_log_of_a_job_with_deaths_is_found_after_the_end(cluster: Callable[..., Cluster]) -> None:
    """It did well as a job, and yet its log says why tasks failed; `corral logs` prints it for a week."""
    with cluster() as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=60)
        with pytest.raises(KilledWorker):
            client.submit(leave_with_three).result(timeout=60)
        eventually(lambda: len(c.failures) >= 4)
        c.scale(1)
    died = [job for job in c.jobs if job.worker_deaths]
    well = [job for job in c.jobs if not job.worker_deaths]
    assert all(Path(str(job.log)).exists() for job in died)
    assert not any(Path(str(job.log)).exists() for job in well)
    listed = CliRunner().invoke(logs_command)
    assert {line.split()[0] for line in listed.output.splitlines()} == {job.id.text for job in died}
    assert c.name in listed.output
    asked = CliRunner().invoke(logs_command, [c.name])
    assert f"is a cluster; its jobs: {died[0].id}" in str(asked.exception)
    printed = CliRunner().invoke(logs_command, [died[0].id.text])
    assert "last words of a task" in printed.output
    assert "exit code 3" in printed.output
    Home.of().remove_old_logs(now=time.time() + 8 * 24 * 3600)
    assert not kept_logs.ended()
    assert not Path(str(died[0].log)).exists()


def test_failures_of_workers_travel_to_handles() -> None:
    """As plain data, JSON can hold them; beside those of jobs, and never taken for them."""
    job = JobRecord(id=JobId("7_0"), group="cpu", worker_deaths=1)
    failures = (
        JobFailure(job=job, outcome=Outcome.DIED, hint="h"),
        WorkerFailure(job=job, worker="7_0-0", cause="signal 11 (SIGSEGV)", tasks=("a", "b"), host="n1"),
    )
    state = State(backend="slurm", groups={}, failures=failures)
    assert to_state(json.loads(json.dumps(to_plain(state)))).failures == failures


def test_causes_are_words_with_a_cure() -> None:
    """Of codes and signals, also of those that nobody has a name for."""
    assert Cause.of_code(-9).words == "signal 9 (SIGKILL)"
    assert "memory=" in Cause.of_code(-9).cure
    assert Cause.of_code(-99).words == "signal 99"
    assert Cause.of_code(0).words == "exit code 0"


# --- what was printed -------------------------------------------------------------------------------------------


class Buffers(WorkerPlugin):
    """Logs into a buffer, prints half a line, and has something to say at exit."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self, worker: Any) -> None:
        import atexit
        from logging.handlers import MemoryHandler

        target = logging.FileHandler(f"{self.folder}/buffered")
        logging.getLogger("test.buffered").addHandler(MemoryHandler(1000, target=target))
        logging.getLogger("test.buffered").error("held back")
        atexit.register(Path(self.folder, "at-exit").write_text, "said at exit")
        sys.stdout.write("half a line")


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_what_tasks_print_is_in_the_log_at_once(cluster: Callable[..., Cluster], launcher: str) -> None:
    """A file's buffer holds kilobytes, and who is killed flushes nothing."""
    with cluster(launcher=launcher) as c, Client(c) as client:
        c.scale(1)
        client.submit(print, "printed by a task").result(timeout=60)
        eventually(lambda: "printed by a task" in c.logs(c.jobs[0]))


def test_a_clusters_end_flushes_what_its_workers_hold(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Handlers of logging and functions of atexit have their turn, when the cluster closes as at any end but a kill."""
    with cluster(log_directory=tmp_path / "logs") as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        client.register_plugin(Buffers(str(tmp_path)))
    log = Path(str(c.jobs[0].log)).read_text()
    assert (tmp_path / "at-exit").exists(), log
    assert (tmp_path / "at-exit").read_text() == "said at exit"
    assert "held back" in (tmp_path / "buffered").read_text()
    assert "half a line" in log
    assert "Traceback" not in log


def test_a_worker_that_cannot_read_a_task_flushes_what_it_holds(
    cluster: Callable[..., Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """distributed ends its process at once; what tasks before that printed and logged is there."""
    (tmp_path / "only_there.py").write_text("def increment(number):\n    return number + 1\n")
    with cluster(log_directory=tmp_path / "logs") as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        client.register_plugin(Buffers(str(tmp_path)))
        monkeypatch.syspath_prepend(tmp_path)
        import only_there  # type: ignore[import-not-found]

        client.submit(only_there.increment, 1)
        eventually(lambda: c.failures)
        assert "half a line" in c.logs(c.jobs[0])
        assert "held back" in (tmp_path / "buffered").read_text()


def test_a_busy_worker_keeps_no_cluster_from_closing(cluster: Callable[..., Cluster]) -> None:
    """Its task would take hours; what it has printed is there, and the end comes in seconds."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        future = client.submit(time.sleep, 3600)
        eventually(lambda: any(client.processing().values()))
        began = time.monotonic()
        del future
    assert time.monotonic() - began < 20


# --- states that are true ---------------------------------------------------------------------------------------

NOW = 1000.0
STARTED = JobRecord(id=JobId("7_0"), status=JobStatus(state=JobState.PENDING, reason="Resources"))


def test_once_connected_a_job_is_never_pending_again() -> None:
    """Batch systems tell late: its workers are the better witness, and why it waited is over."""
    job = connect(STARTED, "7_0-0", NOW)
    assert (job.state, job.reason) == (JobState.RUNNING, "")
    job = disconnect(job, "7_0-0", NOW + 5)
    assert job.state is JobState.RUNNING
    assert job.condition == "running without workers"
    late = JobStatus(state=JobState.PENDING, reason="Resources")
    job = observe(job, late, NOW + 6)
    assert (job.state, job.reason, job.connected_at) == (JobState.RUNNING, "", NOW)
    ended = observe(job, JobStatus(state=JobState.COMPLETED, exit_code=0), NOW + 7)
    assert (ended.state, ended.connected_at) == (JobState.COMPLETED, NOW)


def test_a_job_that_was_requeued_waits_again() -> None:
    """The batch system says so for longer than it could be late."""
    job = disconnect(connect(STARTED, "7_0-0", NOW), "7_0-0", NOW + 5)
    job = observe(job, JobStatus(state=JobState.PENDING, reason="BeginTime"), NOW + 60)
    assert (job.state, job.connected_at) == (JobState.PENDING, None)


def test_jobs_that_drain_are_said_to_drain(cluster: Callable[..., Cluster]) -> None:
    """They are no capacity: "2 connected, 1 running" at a target of 2 says otherwise."""
    with cluster() as c, Client(c) as client:
        c.scale(2)
        client.wait_for_workers(2, timeout=60)
        futures = client.map(time.sleep, [5] * 4, pure=False)
        eventually(lambda: sum(map(len, client.processing().values())) >= 2)
        c.scale(1)
        eventually(lambda: "1 job draining" in repr(c), lambda: repr(c))
        assert any(": draining," in repr(job) for job in c.jobs)
        client.gather(futures)


def test_workers_that_the_user_retires_are_no_failures(cluster: Callable[..., Cluster]) -> None:
    """Nor is their job, whatever its age."""
    with cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=60)
        [address] = client.scheduler_info()["workers"]
        client.retire_workers([address])
        eventually(lambda: c.jobs[0].has_ended, lambda: repr(c.jobs))
        assert c.jobs[0].state is JobState.COMPLETED
        assert not c.failures


# --- jobs that never start --------------------------------------------------------------------------------------


class Hopeless:
    """A site where jobs wait in vain."""

    reason = "PartitionTimeLimit"
    hopeless = "its walltime is longer than the partition allows: ask for less with walltime="
    explanation = ""

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return self._in_vain((yield))

    def _in_vain(self, conversation: Any) -> Any:
        found = yield from conversation
        waits = JobStatus(state=JobState.PENDING, reason=self.reason, hopeless=self.hopeless)
        return dict.fromkeys(found, waits)

    @hookimpl(wrapper=True)
    def explain_pending(self, job_id: Any) -> Any:
        return self._explained((yield))

    def _explained(self, conversation: Any) -> Any:
        words = yield from conversation
        return self.explanation or words


class SaysSoWhenAsked(Hopeless):
    """The poll does not show it."""

    reason = "no match found"
    hopeless = ""
    explanation = "it will never start in this pool: no machine has so much; see memory= (no match found)"


#: Its jobs live until they are cancelled, and start no workers.
IDLE = "#!/bin/sh\nexec sleep 1000\n"


@pytest.mark.parametrize("site", [Hopeless, SaysSoWhenAsked])
def test_whoever_waits_for_jobs_that_never_start_hears_it(
    site: type[Hopeless], cluster: Callable[..., Cluster], tmp_path: Path, said: Callable[[str], list[str]]
) -> None:
    """Without any time-out: the reason, the argument and the cure; told in the log and the repr as well."""
    program = tmp_path / "python"
    program.write_text(IDLE)
    program.chmod(0o755)
    argument = "walltime=" if site is Hopeless else "memory="
    with cluster(plugins=[site()], python=str(program)) as c:
        c.scale(2)
        with pytest.raises(NeverStarts) as told:
            c.wait_for_workers(2)
        for text in (str(told.value), repr(c), "".join(said("will never start"))):
            assert f"({site.reason})" in text
            assert f"({site.reason}) ({site.reason})" not in text
            assert argument in text
        assert told.value.reason == site.reason
        assert isinstance(told.value, JobsFailed)
        # Scaled again, it is heard again.
        c.scale(1)
        with pytest.raises(NeverStarts):
            c.wait_for_workers(1)
        c.scale(0)
        eventually(lambda: all(job.has_ended or job.stop_reason for job in c.jobs))


def test_never_starts_travels() -> None:
    """A handle raises what the engine raised."""
    error = to_error(json.loads(json.dumps(error_to_plain(NeverStarts("cpu", 2, "BadConstraints", "see cores=")))))
    assert isinstance(error, NeverStarts)
    assert (error.reason, error.cure) == ("BadConstraints", "see cores=")
    assert "2 jobs of group 'cpu' will never start" in str(error)
    assert "They stay in the queue" in str(error)
    assert "It stays in the queue" in str(NeverStarts("cpu", 1, "BadConstraints", "see cores="))


def test_what_a_budget_was_spent_on_travels() -> None:
    """With its unit, by which a handle names what to raise."""
    error = to_error(json.loads(json.dumps(error_to_plain(BudgetSpent(3.2, 3.0, "GPU-hours")))))
    assert isinstance(error, BudgetSpent)
    assert (error.used, error.maximum, error.unit, error.limit) == (3.2, 3.0, "GPU-hours", "maximum_gpu_hours")
    assert "Raise cluster.maximum_gpu_hours to go on" in str(error)


class Refuses:
    """A site that refuses all submissions, in words that do not say which limit it is."""

    @hookimpl(wrapper=True)
    def submit(self, script: Any, count: Any) -> Any:
        return mapped((yield), lambda command: evolve(command, argv=["sh", "-c", "echo 'a limit' >&2; exit 1"]))

    @hookimpl(wrapper=True)
    def classify_failure(self, completed: Any) -> Any:
        from corral.plugin.values import Failure, FailureKind

        known = yield
        return (
            Failure(kind=FailureKind.LIMIT, message="Job violates policy") if "a limit" in completed.stderr else known
        )


def test_a_bare_refusal_says_after_some_tries_what_may_be_over_the_limit(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job alone may ask for too much: then it is refused for ever."""
    monkeypatch.setattr("corral.jobs.group.LIMIT_PATIENCE", 0.2)
    with cluster(plugins=[Refuses()], walltime="2h", cores=2) as c:
        c.scale(jobs=1)
        eventually(lambda: said("postponed again"), lambda: said(""))
        [told] = said("postponed again")
        for words in ("3 times", "cores=2", "walltime='2h'", "memory=", "queue="):
            assert words in told
        assert "cores=2" in repr(c)


# --- evidence ---------------------------------------------------------------------------------------------------


def test_failures_are_alike_whoever_told_them() -> None:
    """A job's own script tells its exit code, and so does Slurm, with a reason that says the same."""
    own = JobStatus(state=JobState.FAILED, exit_code=3)
    told, other = evolve(own, reason="NonZeroExitCode", hosts=("n1",)), evolve(own, exit_code=4)
    unknown = [JobStatus(state=JobState.FAILED, reason=reason) for reason in ("NodeFail", "Prolog")]
    kinds = [
        JobFailure(job=evolve(STARTED, status=status), outcome=Outcome.DIED).kind
        for status in (own, told, other, *unknown)
    ]
    assert kinds[0] == kinds[1]
    assert len(set(kinds)) == 4


def test_three_strikes_show_their_evidence_once(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]]
) -> None:
    """One example and a count, in the error; in the log, the example is told with the first, and once."""
    with cluster(prologue=["echo words of a prologue; exit 3"]) as c:
        c.scale(3)
        with pytest.raises(JobsFailed) as told:
            c.wait_for_workers(3, timeout=60)
        assert str(told.value).count("words of a prologue") == 1
        assert "(and 2 more like it)" in str(told.value)
        assert "".join(said("")).count("words of a prologue") == 1
        assert not said("may be at fault"), "they ran on one host because there is no other"
        assert "may be at fault" not in str(told.value)
        assert len(told.value.failures) == 3


def test_one_job_that_failed_is_no_job_s_in_brackets(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]]
) -> None:
    """They are counted as people count."""
    with cluster(prologue=["exit 3"]) as c:
        c.scale(1)
        with pytest.raises(JobsFailed):
            c.wait_for_workers(1, timeout=60)
    assert said(r": \d (more )?jobs? of group 'default' failed")
    assert not said(r"\(s\)")


@pytest.mark.parametrize(
    ("group", "argument", "words"),
    [
        ({"modules": ["no/such/module"]}, "modules=", "module load no/such/module"),
        ({"conda_env": "no-such-environment"}, "conda_env=", "conda activate no-such-environment"),
    ],
)
def test_what_cannot_be_loaded_ends_the_job(
    group: dict[str, Any], argument: str, words: str, cluster: Callable[..., Cluster]
) -> None:
    """Though Python would be found: it would be another one than was meant."""
    with cluster(python=sys.executable, **group) as c:
        c.scale(1)
        with pytest.raises(JobsFailed) as told:
            c.wait_for_workers(1, timeout=60)
    assert f"{words} failed" in str(told.value)
    [hint] = {failure.hint for failure in told.value.failures}
    assert argument in hint
    assert "python=" not in hint


#: What Environment Modules 3.2 is to a shell. It succeeds whatever happens.
_MODULES_3_2 = """\
module() { eval "$(modulecmd "$@")"; }
modulecmd() {
    case $2 in
        good) echo 'export LOADEDMODULES=good/1.0 LOADED_GOOD=1' ;;
        alias) echo 'export LOADEDMODULES=good/1.0 LOADED_GOOD=1' ;;
        *) echo "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for '$2'" >&2 ;;
    esac
}
"""


@pytest.mark.parametrize(("module", "code"), [("good", 0), ("good/1.0", 0), ("alias", 0), ("absent", 1)])
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_modules_3_2_fails_with_success(module: str, code: int, shell: str) -> None:
    """The job ends with its words; what is loaded under another name than was asked for is loaded."""
    module_lines = (
        WorkerGroup(memory="1GB", modules=[module])
        .request(name="a", log_directory=None, launcher_options=())
        .prologue[:3]
    )
    known = _MODULES_3_2.replace("good)", "good | good/1.0)", 1)
    script = "\n".join([known, *module_lines, 'echo "went on with $LOADED_GOOD"'])
    done = subprocess.run([shell, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    if code:
        assert "ERROR:105: Unable to locate a modulefile for 'absent'" in done.stderr
        assert "corral: module load absent failed; see above for the reason" in done.stderr
        assert not done.stdout
    else:
        assert (done.stdout, done.stderr) == ("went on with 1\n", "")


def test_the_python_that_a_cluster_is_made_with_needs_no_conda() -> None:
    """Its environment is activated if that can be; nobody asked for it, so it ends no job."""
    lines = WorkerGroup(memory="1GB", conda_env="mine").request(name="a", log_directory=None, launcher_options=())
    assert [line for line in lines.prologue if "activate" in line and "exit 1" in line]


# --- questions that are refused ---------------------------------------------------------------------------------


class Blind:
    """A site where the batch system's question is not understood."""

    def change(self, command: Command) -> Command:
        return evolve(command, argv=["sh", "-c", "echo 'unrecognized option: -O' >&2; exit 1"])

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        return mapped((yield), self.change)


def test_a_poll_that_is_refused_is_told_at_once(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]]
) -> None:
    """Once, with the batch system's words; and the cluster that closes blindly says that it is blind."""
    with cluster(plugins=[Blind()]) as c:
        c.scale(1)
        c.wait_for_workers(1, timeout=60)
        eventually(lambda: said("does not report on the jobs"))
        assert "unrecognized option: -O" in repr(c)
        [told] = said("does not report on the jobs")
        assert "unrecognized option: -O" in told
        engine: Any = c._engine
        follower = engine._cares[""].follower
        eventually(lambda: follower.failed_polls >= 3, lambda: follower.failed_polls)
        assert len(said("does not report on the jobs")) == 1


# --- pages ------------------------------------------------------------------------------------------------------


def test_every_page_of_a_cluster_can_be_shown(cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """Open and closed, with ipywidgets and without: never a traceback."""

    def pages(c: Any) -> Iterator[str]:
        yield c._repr_html_()
        yield c.scheduler_info._repr_html_()
        yield c._scaling_status()
        yield repr(c)

    c = cluster()
    c.scale(1)
    c.wait_for_workers(1, timeout=60)
    assert all(pages(c))
    assert "running" in repr(c) or "connected" in repr(c)
    c.close()
    for page in pages(c):
        assert "undefined" not in page
    assert c.name in c._repr_html_()
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "corral.cluster.live_widget", raising=False)
    assert c._widget() is None


# --- versions ---------------------------------------------------------------------------------------------------


def test_jobs_with_another_corral_are_told_once(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """With both versions and the cure; they work as far as they understand each other."""
    (tmp_path / "sitecustomize.py").write_text("import corral._version\ncorral._version.__version__ = '9.9'\n")
    with cluster(env={"PYTHONPATH": str(tmp_path)}) as c:
        c.scale(jobs=2)
        c.wait_for_workers(2, timeout=60)
        eventually(lambda: said("they may not work together"))
        c.scale(jobs=3)
        c.wait_for_workers(3, timeout=60)
        [warning] = said("they may not work together")
        assert f"runs corral 9.9, and this is corral {__version__}" in warning
        assert "Install the same version in both Pythons" in warning


# --- one import for a node --------------------------------------------------------------------------------------


def test_what_could_not_be_imported_for_all_workers_is_told_once(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """However many jobs say it; workers have what could be imported, and start all the same."""
    (tmp_path / "imported_once.py").write_text("import os\npid = os.getpid()\n")
    inherited = os.environ.get("PYTHONPATH", "")
    with (
        cluster(
            preimport=["not_there", "imported_once"], env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{inherited}"}
        ) as c,
        Client(c) as client,
    ):
        c.scale(jobs=2)
        c.wait_for_workers(2, timeout=60)
        eventually(lambda: said("has not imported"))
        c.scale(jobs=3)
        c.wait_for_workers(3, timeout=60)
        [warning] = said("has not imported")
        assert "has not imported not_there for all workers of a node: there is no module 'not_there'" in warning
        assert "mend that, or take it out of preimport=" in warning
        pids = client.run(lambda: (os.getpid(), sys.modules["imported_once"].pid))
        assert len(pids) == 3
        assert all(here != there for here, there in pids.values())


def test_modules_that_share_a_reason_share_a_message(
    cluster: Callable[..., Cluster], said: Callable[[str], list[str]]
) -> None:
    """With launcher="spawn", it is the same for all of them."""
    with cluster(preimport=["json", "decimal"], launcher="spawn") as c:
        c.scale(jobs=1)
        c.wait_for_workers(1, timeout=60)
        eventually(lambda: said("has not imported"))
        [warning] = said("has not imported")
        assert "has not imported json, decimal for all workers of a node: launcher='spawn': workers are" in warning
