"""Groups with a batch system of their own: two embedded queues stand for the cluster's and for another one.

Both count from 1, so that their jobs have the same ids.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from attrs import evolve
from click.testing import CliRunner, Result
from distributed import Client

from corral import Cluster, JobState, WorkerGroup, hookimpl, mapped
from corral.cli import main
from corral.cluster import cleanup, kept_waits
from corral.cluster.registry import entries
from corral.errors import InvalidRequest, UnknownBackend
from corral.jobs.group import room_for
from corral.jobs.record import JobRecord, Jobs
from corral.jobs.table import Roster
from corral.plugin.values import Command, JobId, Queue, Resources
from corral.remote.messages import GroupSnapshot, State, arguments_of, to_plain, to_state
from corral.remote.spec import take
from corral.request.drawing import draw

#: A package with a second backend.
LINES = Path(__file__).parent / "waits"


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(str(LINES))
    monkeypatch.setenv("PYTHONPATH", str(LINES), prepend=os.pathsep)
    return tmp_path / "state" / "corral"


@pytest.fixture
def here(tmp_path: Path) -> WorkerGroup:
    """A group of the embedded queue."""
    options = {"directory": str(tmp_path / "here"), "cores": 4, "memory": "4GB"}
    return WorkerGroup(backend="local", backend_options=options, memory="200MB")


@pytest.fixture
def arguments(tmp_path: Path, here: WorkerGroup) -> dict[str, Any]:
    """Of a cluster in a centre's queue, whose group "here" is not."""
    options = {"directory": str(tmp_path / "centre"), "cores": 4, "memory": "4GB"}
    return {
        "backend": "lines", "backend_options": options, "interface": "lo",
        "groups": {"there": WorkerGroup(memory="200MB"), "here": here},
    }  # fmt: skip


def eventually(condition: Callable[[], object], complaint: Callable[[], object] = str, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def ids(cluster: Cluster) -> list[str]:
    return sorted(str(job.id) for job in cluster.jobs)


def test_ids_of_two_batch_systems_do_not_clash(arguments: dict[str, Any]) -> None:
    """Jobs of a batch system that is not the cluster's are known by its name and their id: workers and logs, too."""
    with Cluster(**arguments) as c, Client(c) as client:
        c.scale(there=1, here=1)
        c.wait_for_workers(2, timeout=60)
        assert ids(c) == ["1_0", "local:1_0"]
        assert sorted(worker["name"] for worker in client.scheduler_info(-1)["workers"].values()) == [
            "1_0-0",
            "local:1_0-0",
        ]
        assert {job.group: job.phase.value for job in c.jobs} == {"there": "working", "here": "working"}
        logs = {c.logs(job) for job in c.jobs}
        assert len(logs) == 2
        assert c.logs("local:1_0") in logs
        assert client.submit(lambda: 1, resources={"here": 1}).result(timeout=30) == 1
        c.scale(here=0)
        eventually(lambda: [job.has_ended for job in c.jobs if job.group == "here"] == [True], lambda: c.jobs)
        assert [job.phase.value for job in c.jobs if job.group == "there"] == ["working"]
    assert all(job.has_ended for job in c.jobs)
    assert not c.failures


class Commands:
    """Notes what is run, by the queue that it is for, and lets one queue fail."""

    def __init__(self) -> None:
        self.run: list[tuple[str, str]] = []
        self.down = ""

    def _note(self, command: Command) -> Command:
        # python -P -m corral.local ACTION --directory=QUEUE …
        queue = Path(command.argv[5].partition("=")[2]).name
        self.run.append((queue, command.argv[4]))
        return evolve(command, argv=["sh", "-c", "echo down >&2; exit 1"]) if queue == self.down else command

    @hookimpl(wrapper=True)
    def submit(self, script: Any, count: int) -> Any:
        return mapped((yield), self._note)

    @hookimpl(wrapper=True)
    def poll_status(self, job_ids: Any) -> Any:
        assert not any(job_id.system for job_id in job_ids)
        return mapped((yield), self._note)

    @hookimpl(wrapper=True)
    def cancel(self, job_ids: Any) -> Any:
        assert not any(job_id.system for job_id in job_ids)
        return mapped((yield), self._note)

    @hookimpl(wrapper=True)
    def find_jobs(self, name: str) -> Any:
        return mapped((yield), self._note)


def test_a_batch_system_whose_groups_want_nothing_is_left_alone(arguments: dict[str, Any]) -> None:
    """It is neither asked nor told anything: each has a rhythm of its own."""
    commands = Commands()
    with Cluster(**arguments, plugins=[commands]) as c:
        # Its plugin was asked what the question would be.
        commands.run.clear()
        rhythm = c._running_engine._state.systems[""].rhythm
        before = rhythm.due()
        c.scale(here=1)
        c.wait_for_workers(1, timeout=60)
        eventually(lambda: ("here", "status") in commands.run)
        assert rhythm.due() == before
    assert {queue for queue, _ in commands.run} == {"here"}


def test_a_batch_system_that_is_down_delays_its_own_groups_alone(
    arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The other one's jobs come, are known and end."""
    commands = Commands()
    commands.down = "centre"
    with Cluster(**arguments, plugins=[commands]) as c:
        c.scale(there=1, here=1)
        c.wait_for_workers(1, timeout=60)
        assert ids(c) == ["local:1_0"]
        commands.down = ""
        eventually(lambda: len(c.jobs) == 2, lambda: repr(c))
        c.wait_for_workers(2, timeout=60)
        commands.down = "centre"
        eventually(lambda: "the batch system does not report on the jobs" in repr(c), lambda: repr(c), timeout=60)
        assert "batch system 'local'" not in repr(c)
        c.scale(here=0)
        eventually(lambda: all(job.has_ended for job in c.jobs if job.group == "here"), lambda: c.jobs)
        commands.down = "here"
        eventually(lambda: "the batch system does not report" not in repr(c), lambda: repr(c), timeout=60)
    assert not [each.getMessage() for each in caplog.records if each.levelno > logging.INFO and "local" in each.message]


def test_a_cluster_that_closes_while_one_is_down_leaves_no_jobs_in_the_other(
    arguments: dict[str, Any],
    here: WorkerGroup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says which are left, and stays registered for them."""
    monkeypatch.setattr("corral.cluster.cluster.CLOSE_TIMEOUT", 6.0)
    held: dict[str, Any] = {"memory": "200MB", "extra_directives": ["--hold"]}
    commands = Commands()
    groups = {"there": WorkerGroup(**held), "here": evolve(here, **held)}
    with Cluster(**{**arguments, "groups": groups}, plugins=[commands]) as c:
        c.scale(there=1, here=1)
        eventually(lambda: len(c.jobs) == 2, lambda: repr(c))
        commands.down = "centre"
    assert states(tmp_path / "here", "1_0") == {"1_0": "CANCELLED"}
    assert states(tmp_path / "centre", "1_0") == {"1_0": "HELD"}
    assert re.findall(r"1 job\(s\) cannot be asked about .*: (\S+)\. `corral clean`", caplog.text) == ["1_0"]
    assert not [each.getMessage() for each in caplog.records if each.levelno > logging.INFO and "local" in each.message]
    # Its process lives: nobody but itself cleans up.
    [entry] = entries()
    assert len(entry.systems) == 1
    cancelled = asyncio.run(cleanup.cancel(entry))
    assert [str(job_id) for job_id in cancelled.cancelled] == ["1_0"]


def job_of(cluster: Cluster, job_id: JobId) -> JobRecord:
    return next(job for job in cluster.jobs if job.id == job_id)


def test_both_are_left_without_jobs_when_the_cluster_closes(arguments: dict[str, Any], tmp_path: Path) -> None:
    """Jobs that wait, and jobs that work."""
    held = evolve(arguments["groups"]["here"], extra_directives=["--hold"])
    groups = {**arguments["groups"], "held": held, "waits": WorkerGroup(memory="200MB", extra_directives=["--hold"])}
    with Cluster(**{**arguments, "groups": groups}) as c:
        c.scale(there=1, here=1, held=1, waits=1)
        c.wait_for_workers(2, timeout=60)
        eventually(lambda: len(c.jobs) == 4, lambda: repr(c))
        assert ids(c)[2:] == ["local:1_0", "local:2_0"]
        [held] = [job for job in c.jobs if job.group == "held"]
        eventually(lambda: job_of(c, held.id).state is JobState.HELD)
        [told] = c.explain(held)
        assert (told.job, told.group, told.state) == (str(held.id), "held", JobState.HELD)
    for queue in ("here", "centre"):
        assert set(states(tmp_path / queue, "1_0", "2_0").values()) <= {"COMPLETED", "CANCELLED"}


def states(queue: Path, *job_ids: str) -> dict[str, str]:
    """What a queue says of its jobs."""
    ran = subprocess.run(
        [sys.executable, "-m", "corral.local", "status", "--directory", str(queue)],
        check=True, capture_output=True, text=True, input="".join(f"{job_id}\n" for job_id in job_ids),
    )  # fmt: skip
    return {row["job"]: row["state"] for row in map(json.loads, ran.stdout.splitlines()) if "state" in row}


# --- what groups are ----------------------------------------------------------------------------------------------


def test_each_way_to_ask_has_a_name_of_its_own(arguments: dict[str, Any], here: WorkerGroup, tmp_path: Path) -> None:
    """Groups that ask alike share one; another folder is another queue, with ids of its own. None comes twice."""
    other = evolve(here, backend_options={"directory": str(tmp_path / "other")})
    blueprint = draw({**arguments, "groups": {**arguments["groups"], "also": here, "other": other}})
    assert [(batch.name, batch.backend) for batch in blueprint.systems] == [
        ("", "lines"), ("local", "local"), ("local-2", "local"),
    ]  # fmt: skip
    assert blueprint.batch_of("here") is blueprint.batch_of("also")
    assert "--system=local-2" in str(blueprint.script("other"))
    assert "--system" not in str(blueprint.script("there"))
    # A group that takes a removed one's place.
    third = evolve(here, backend_options={"directory": str(tmp_path / "third")})
    assert blueprint.without_group("other").with_group("other", third).batch_of("other").name == "local-3"


@pytest.mark.parametrize("backend", ["lines", "lineation"])
def test_the_cluster_s_own_backend_is_no_other(arguments: dict[str, Any], backend: str) -> None:
    """By any of its names; options are laid over the cluster's then."""
    group = WorkerGroup(backend=backend, memory="200MB", backend_options={"grace": 1.0})
    blueprint = draw({**arguments, "groups": {"a": group}})
    assert len(blueprint.systems) == 1
    assert blueprint.batch_of("a").options == {**arguments["backend_options"], "grace": 1.0}
    assert "--backend=lines" in str(blueprint.script("a"))


def test_words_of_one_batch_system_are_not_told_to_another(arguments: dict[str, Any], here: WorkerGroup) -> None:
    """Queue, account and directives that are said for all groups are the cluster's; the rest is everybody's."""
    of_cluster = {"queue": "batch", "account": "phys", "extra_directives": ["--x"], "skip_directives": ["memory"]}
    configured = {
        "corral.queue": "general",
        "corral.cores": 2,
        "corral.backends.lines": {"account": "lines", "walltime": "02:00:00"},
        "corral.backends.local": {"account": "mine", "processes": 2, "backend-options": {"grace": 2.5}},
    }
    with dask.config.set(configured):
        there, found = draw({**arguments, **of_cluster, "env": {"A": "1"}}).groups.values()
        assert (there.queue, there.account, there.walltime) == ("batch", "phys", "02:00:00")
        assert (found.queue, found.account, found.extra_directives, found.skip_directives) == (None, "mine", (), ())
        assert (found.cores, found.processes, found.walltime, found.env) == (2, 2, "01:00:00", {"A": "1"})
        groups = {"here": evolve(here, queue="local", account="my own")}
        [found] = draw({**arguments, **of_cluster, "groups": groups}).groups.values()
        assert (found.queue, found.account) == ("local", "my own")
        blueprint = draw(arguments)
        assert blueprint.batch_of("here").options == {**here.backend_options, "grace": 2.5}
        # A group that comes later.
        assert draw({**arguments, "groups": {"a": WorkerGroup(memory="1GB")}}).with_group("b", here).batch_of(
            "b"
        ).options == {**here.backend_options, "grace": 2.5}


def test_a_site_is_the_cluster_s_alone(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plugin knows one batch system."""
    monkeypatch.syspath_prepend(str(LINES.parent / "plugins" / "site"))
    blueprint = draw({**arguments, "site": "barn"})
    assert "--site=barn" in str(blueprint.script("there"))
    assert "--site" not in str(blueprint.script("here"))


@pytest.mark.parametrize(
    ("group", "error", "words"),
    [
        ({"backend": 5}, InvalidRequest, "backend: 5 is not text"),
        ({"backend": ""}, InvalidRequest, "backend: is empty"),
        ({"backend": "slrum"}, UnknownBackend, "no backend named 'slrum'"),
        ({"backend": "local", "nodes": 2}, InvalidRequest, r"nodes: the embedded queue has one machine.*group 'here'"),
        ({"backend": "local", "backend_options": {"arrays": 1}}, InvalidRequest, "'local' has no option 'arrays'"),
        ({"backend": "local"}, InvalidRequest, "memory: say how much"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: dict[str, Any], group: dict[str, Any], error: type[Exception], words: str
) -> None:
    """By the backend that the group has, before anything is started."""
    memory = {} if "say how much" in words else {"memory": "1GB"}
    with pytest.raises(error, match=words):
        Cluster(**{**arguments, "groups": {"here": {**memory, **group}}})


def test_what_the_configuration_says_wrong_is_located(arguments: dict[str, Any], here: WorkerGroup) -> None:
    """In the section of the group's backend."""
    with (
        dask.config.set({"corral.backends.local": {"walltime": "soon"}, "corral.walltime": "01:00:00"}),
        pytest.raises(InvalidRequest, match=r"'soon'.*\(corral\.backends\.local\.walltime\)$"),
    ):
        draw(arguments)


def test_a_scheduler_in_a_job_is_refused(arguments: dict[str, Any]) -> None:
    """Nobody knows which batch systems answer where it will run."""
    with pytest.raises(InvalidRequest, match=r"group 'here' has a batch system of its own \(local\).*corral serve"):
        Cluster(**arguments, scheduler="job")


def test_groups_of_the_configuration_are_those_of_a_scheduler_elsewhere(
    arguments: dict[str, Any], here: WorkerGroup
) -> None:
    """`corral serve` is where the user is: it may have them, with the variables that were meant here."""
    del arguments["groups"]
    group = {"memory": "1GB", "backend": "local", "backend-options": dict(here.backend_options), "env": {"A": "1"}}
    with dask.config.set({"corral.groups": {"there": {"memory": "1GB"}, "here": group}}):
        _, order = take(arguments)
        found = draw(order.arguments)
    assert [batch.name for batch in found.systems] == ["", "local"]
    assert found.groups["here"].env == {"A": "1"}
    assert found.batch_of("here").options == here.backend_options


def test_handles_are_told_the_names_of_batch_systems(here: WorkerGroup) -> None:
    """What travels to them is plain data, and makes equal ids."""
    group = GroupSnapshot(arguments=arguments_of(here), resources=here.resources, wanted=1, script="")
    job = JobRecord(id=JobId("1_0", system="local"))
    state = State(backend="lines", groups={"here": group}, jobs=Jobs([job]))
    found = to_state(json.loads(json.dumps(to_plain(state))))
    assert [str(job.id) for job in found.jobs] == ["local:1_0"]
    assert found.jobs[0] == job
    assert found.groups["here"].spec.backend == "local"


def test_a_group_that_comes_later_brings_its_batch_system(
    arguments: dict[str, Any], here: WorkerGroup, state_directory: Path
) -> None:
    """Its logs have a folder, and whoever cleans up knows of it before anything is submitted."""
    there = arguments["groups"]["there"]
    with Cluster(**{**arguments, "groups": {"there": there}}) as c:
        c.add_group("here", here)
        c.scale(here=1, there=1)
        c.wait_for_workers(2, timeout=60)
        assert ids(c) == ["1_0", "local:1_0"]
        [entry] = entries()
        assert [(line.name, line.backend) for line in entry.systems] == [("local", "local")]
        assert entry.systems[0].backend_options == here.backend_options
        [log] = [job.log for job in c.jobs if job.group == "here"]
        assert log is not None
        assert Path(log).parent.name == "local"
        c.remove_group("here")
        eventually(lambda: "here" not in c._running_engine.groups, lambda: repr(c))
        c.add_group("here", here)
        c.scale(here=1)
        eventually(lambda: ids(c) == ["1_0", "local:1_0", "local:2_0"], lambda: repr(c))
    assert not list(state_directory.glob("logs/*/*"))


# --- what a killed client leaves ----------------------------------------------------------------------------------

CLIENT = """
import json, sys, time
from corral import Cluster, WorkerGroup
from corral.cluster.registry import entries

held = {"memory": "200MB", "extra_directives": ["--hold"]}
centre, here = ({"directory": directory, "cores": 2, "memory": "2GB"} for directory in sys.argv[1:])
groups = {"there": WorkerGroup(**held), "here": WorkerGroup(**held, backend="local", backend_options=here)}
c = Cluster(backend="lines", interface="lo", name="doomed", backend_options=centre, groups=groups)
c.scale(there=1, here=1)
# Who kills it reads what is written, which comes after what it knows.
while not (wrote := entries()) or [line.state for line in wrote[0].jobs] != ["held", "held"] or wrote[0].submitted:
    time.sleep(0.05)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed(tmp_path: Path) -> list[Path]:
    """The queues of a cluster whose process was killed; each has a job."""
    queues = [tmp_path / "centre", tmp_path / "here"]
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, *map(str, queues)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert [states(queue, "1_0") for queue in queues] == [{"1_0": "HELD"}] * 2
    return queues


def corral(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_what_a_killed_client_leaves_in_both_is_cleaned(killed: list[Path], state_directory: Path) -> None:
    """It is shown before, with the names of both batch systems."""
    shown = corral("ps").output
    assert "doomed  lines and local" in shown
    assert re.search(r"^ *1_0 +there", shown, re.MULTILINE)
    assert re.search(r"^ *local:1_0 +here", shown, re.MULTILINE)
    explained = corral("explain", "local:1_0").output
    assert "local:1_0" in explained
    assert "held" in explained
    assert "2 jobs 1_0 local:1_0" in corral("clean").output
    ran = corral("clean", "--yes")
    assert ran.exit_code == 0
    assert "cancelled 2 jobs 1_0 local:1_0" in ran.output
    assert [states(queue, "1_0") for queue in killed] == [{"1_0": "CANCELLED"}] * 2
    assert not entries()


def test_one_that_does_not_answer_keeps_the_other_s_jobs_from_nothing(killed: list[Path]) -> None:
    """They are cancelled, and the cluster stays registered for what may be left."""
    centre, here = killed
    there = centre.rename(centre.with_name("away"))
    centre.write_text("no queue is here\n")
    ran = corral("clean", "--yes")
    assert ran.exit_code == 1
    assert "cancelled 1 job local:1_0; others may be left" in ran.output
    assert states(here, "1_0") == {"1_0": "CANCELLED"}
    assert len(entries()) == 1
    centre.unlink()
    there.rename(centre)
    assert "cancelled 1 job 1_0" in corral("clean", "--yes").output
    assert states(centre, "1_0") == {"1_0": "CANCELLED"}


# --- what is remembered -------------------------------------------------------------------------------------------


def test_waits_are_kept_by_the_backend_that_the_group_has(tmp_path: Path, here: WorkerGroup) -> None:
    """Of the embedded queue nothing, whosever groups it has."""
    options = {"directory": str(tmp_path / "centre"), "cores": 4, "memory": "4GB"}
    groups = {
        "mine": WorkerGroup(memory="200MB"),
        "centre": WorkerGroup(memory="200MB", backend="lines", backend_options=options),
    }
    with Cluster(backend="local", backend_options=here.backend_options, interface="lo", groups=groups) as c:
        c.scale(mine=1, centre=1)
        c.wait_for_workers(2, timeout=60)
    assert [wait.asked.backend for wait in kept_waits.read()] == ["lines"]


def test_a_place_in_one_queue_is_not_taken_in_another() -> None:
    """A job that starts just after one of another batch system has ended has waited for its own queue."""
    roster = Roster(lambda *_: None)
    roster.admit([JobRecord(id=JobId("1")), JobRecord(id=JobId("1", system="local"))], 0.0)
    roster.worker_came("tcp://a", "local:1-0", 1.0)
    roster.worker_left("tcp://a", 10.0)
    roster.worker_came("tcp://b", "1-0", 11.0)
    assert not roster.jobs[0].took_own_place
    roster.admit([JobRecord(id=JobId("2", system="local"))], 12.0)
    roster.worker_came("tcp://c", "local:2-0", 13.0)
    assert roster.jobs[2].took_own_place


def test_workers_that_come_before_their_submission_is_answered_find_their_job() -> None:
    """By the name of the batch system, too."""
    roster = Roster(lambda *_: None)
    roster.worker_came("tcp://a", "local-2:1-0", 1.0)
    roster.admit([JobRecord(id=JobId("1")), JobRecord(id=JobId("1", system="local-2"))], 2.0)
    assert [sorted(job.workers) for job in roster.jobs] == [[], ["local-2:1-0"]]
    assert roster.called("local-2:1") is roster.jobs[1]
    assert roster.addresses(JobId("1")) == []


# --- how many fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "jobs"),
    [
        (Queue(name="a", cores=9, memory=8 * 10**9, gpus=3, nodes=2), 6),
        (Queue(name="a", cores=9, memory=10 * 10**9, gpus=3, nodes=1), 3),
        (Queue(name="a", cores=9, memory=10 * 10**9, gpus=None, nodes=1), 4),
        (Queue(name="a", cores=1, memory=None, nodes=1), 0),
        (Queue(name="a", memory=None, nodes=1), math.inf),
        (Queue(name="a", cores=9), math.inf),
    ],
)
def test_as_many_jobs_have_room_as_fit_on_the_nodes(queue: Queue, jobs: float) -> None:
    """What is not said does not count."""
    assert room_for(Resources(cores=2, memory=2 * 10**9, gpus=1), queue) == jobs


def test_an_adaptive_cluster_asks_for_no_more_than_fit_here(arguments: dict[str, Any], here: WorkerGroup) -> None:
    """Before its first submission, by which the queue learns of its size, and for groups that come later."""
    with Cluster(**arguments) as c:
        rooms = {name: group.room for name, group in c._running_engine.groups.items()}
        eventually(lambda: c._running_engine.groups["here"].room == 4, lambda: rooms)
        c.add_group("wide", evolve(here, cores=2))
        eventually(lambda: c._running_engine.groups["wide"].room == 2)
        assert c._running_engine.groups["there"].room == math.inf
        with Client(c) as client:
            c.adapt(maximum=7, groups={"wide": {"maximum": 0}})
            futures = client.map(lambda _: time.sleep(60), range(400), pure=False)
            eventually(lambda: len(c.jobs) == 7, lambda: c.jobs)
            assert sum(job.group == "here" for job in c.jobs) == 4
            client.cancel(futures)


def test_one_job_begins_before_it_is_known_how_many_fit(
    arguments: dict[str, Any], here: WorkerGroup, tmp_path: Path
) -> None:
    """A busy machine may take seconds to say so."""
    answers = tmp_path / "answers"

    class Slow:
        @hookimpl(wrapper=True)
        def describe_queues(self) -> Any:
            return self._later((yield))

        def _later(self, conversation: Any) -> Any:
            yield Command(["sh", "-c", f"until test -e '{answers}'; do sleep 0.05; done"])
            return (yield from conversation)

    with Cluster(**arguments, plugins=[Slow()]) as c, Client(c) as client:
        c.adapt(maximum=7, groups={"there": {"maximum": 0}})
        futures = client.map(lambda _: time.sleep(60), range(400), pure=False)
        c.wait_for_workers(1, timeout=60)
        assert len(c.jobs) == 1
        answers.touch()
        eventually(lambda: len(c.jobs) == 4, lambda: c.jobs)
        client.cancel(futures)


def test_the_script_of_one_of_several_groups_is_printed(arguments: dict[str, Any], here: WorkerGroup) -> None:
    """As they stand in the configuration."""
    groups = {
        "there": {"memory": "1GB"},
        "here": {"memory": "1GB", "backend": "local", "backend-options": dict(here.backend_options)},
    }
    with dask.config.set({"corral.groups": groups}):
        assert "--system=local" in corral("script", "--backend", "lines", "--group", "here").output
        assert "--system" not in corral("script", "--backend", "lines", "--group", "there").output
        assert "say which: this cluster has there, here" in corral("script", "--backend", "lines").output
