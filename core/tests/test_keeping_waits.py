"""Clusters that write down how long their jobs have waited, and begin with what others have seen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dask.config
import pytest
from attrs import evolve

from corral import Cluster, WorkerGroup
from corral.batch.rhythm import Rhythm
from corral.cluster import keeping_waits, kept_waits
from corral.cluster.engine_state import EngineState
from corral.cluster.keeping_waits import SAMPLE, SETTLED, WaitKeeper, asked_of
from corral.cluster.submitting import JobSubmitter
from corral.jobs.group import Group
from corral.jobs.record import JobRecord
from corral.jobs.table import Roster
from corral.plugin.values import JobId, JobState, JobStatus
from corral.request.drawing import draw
from corral.scaling.history import Asked, Wait

#: A backend of which waits are remembered.
HERE = Path(__file__).parent / "waits"
ASKED = Asked(backend="lines", queue="local", cores=1, walltime=3600)


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of a cluster on a batch system of which waits are remembered."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    options = {"directory": str(tmp_path / "queue"), "cores": 4, "memory": "4GB"}
    return {
        "backend": "lines", "backend_options": options, "interface": "lo", "memory": "200MB", "cores": 1,
        "queue": "local", "walltime": "1h",
    }  # fmt: skip


def wait(number: int, waited: float = 60.0, ago: float = 100.0, asked: Asked = ASKED) -> Wait:
    return Wait(
        asked=asked, submission=f"c-{number}", job=str(number), submitted=time.time() - ago, waited=waited,
        started_up=5.0,
    )  # fmt: skip


def add(*waits: Wait) -> None:
    kept_waits.add(waits, time.time())


# --- what is written down -----------------------------------------------------------------------------------------


@pytest.fixture
def keeper(lines: dict[str, Any]) -> WaitKeeper:
    """Of a cluster that has not begun, at second 1000."""
    return keeper_of(lines)


def keeper_of(arguments: dict[str, Any]) -> WaitKeeper:
    state = SimpleNamespace(
        blueprint=draw(arguments), name="c", roster=Roster(lambda *_: None), now=lambda: 1000.0, groups={}
    )
    found = WaitKeeper(state=cast(EngineState, state), submitter=cast(JobSubmitter, SimpleNamespace(uncertain=())))
    found.prime(group_of(found))
    return found


def group_of(keeper: WaitKeeper) -> Group:
    blueprint = keeper._state.blueprint
    return Group(
        name="default", cluster="c", spec=blueprint.groups["default"], resources=blueprint.resources("default")
    )


def job(number: int, **fields: Any) -> JobRecord:
    return JobRecord(
        **{
            "id": JobId(f"7_{number}"), "name": "c-1", "submitted_at": 100.0, "started_at": 400.0,
            "connected_at": 430.0, **fields,
        }
    )  # fmt: skip


def written(keeper: WaitKeeper, *records: JobRecord, at_once: bool = False) -> list[Wait]:
    for record in records:
        keeper._state.roster.put(record)
    keeper.write(at_once=at_once)
    return kept_waits.read()


def test_each_job_that_had_a_worker_is_written_down_once(keeper: WaitKeeper, state_directory: Path) -> None:
    """What it asked for, when it was submitted and with how many others, and how long it waited."""
    [found] = written(keeper, job(1), job(2, connected_at=None, started_at=None))
    assert found.asked == asked_of(keeper._state.blueprint, "default")
    assert (found.asked.queue, found.asked.cores, found.asked.walltime) == ("local", 1, 3600)
    assert found.asked.memory == 200_000_000
    assert (found.submission, found.job, found.count) == ("c-1", "7_1", 2)
    assert (found.waited, found.started_up) == (300.0, 30.0)
    assert abs(found.submitted - (time.time() - 900)) < 5
    assert len(written(keeper, job(2))) == 2
    assert len(os.listdir(state_directory / "waits")) == 2
    keeper.write()
    keeper.write(at_once=True)
    assert len(os.listdir(state_directory / "waits")) == 2, "nothing is written that is no news"


def test_the_batch_system_knows_best_when_a_job_started(keeper: WaitKeeper) -> None:
    """It is asked for a while after the first worker came; then what was seen must do."""
    late = job(1, started_at=430.0, connected_at=990.0)
    assert written(keeper, late) == []
    told = evolve(late, status=JobStatus(state=JobState.RUNNING, submitted=5000.0, started=5800.0))
    [found] = written(keeper, told)
    assert (found.waited, found.started_up) == (800.0, 90.0)
    [found] = [each for each in written(keeper, job(2, connected_at=1000 - SETTLED)) if each.job == "7_2"]
    assert (found.waited, found.started_up) == (300.0, 1000 - SETTLED - 400)


def test_a_wait_for_a_job_of_its_own_cluster_is_not_written_down(keeper: WaitKeeper) -> None:
    """It says what the user may have at a time, not how busy the queue is."""
    [found] = written(keeper, job(1), job(2, took_own_place=True))
    assert found.job == "7_1"


def test_a_start_that_nobody_saw_is_no_start(keeper: WaitKeeper) -> None:
    """Its worker came before any answer said that it ran."""
    [found] = written(keeper, job(1, started_at=430.0))
    assert (found.waited, found.started_up, found.took) == (330.0, None, 330.0)


def test_when_a_cluster_closes_all_is_written_down(keeper: WaitKeeper) -> None:
    assert len(written(keeper, job(1, connected_at=999.0), at_once=True)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"ended_at": 900.0, "is_presumed": True},
        {"status": JobStatus(state=JobState.HELD), "connected_at": None, "started_at": None},
    ],
    ids=["presumed", "held"],
)
def test_a_wait_that_was_no_wait_is_not_written_down(keeper: WaitKeeper, fields: dict[str, Any]) -> None:
    """Not even when the job comes after all."""
    assert written(keeper, job(1, **fields)) == []
    assert written(keeper, job(1)) == []
    assert len(written(keeper, job(2))) == 1


def test_a_job_that_was_requeued_has_waited_once(keeper: WaitKeeper) -> None:
    """Its second wait is longer than anybody's: it counts from its submission."""
    [first] = written(keeper, job(1))
    assert written(keeper, job(1, connected_at=900.0)) == [first]


def test_jobs_whose_submission_nobody_saw_do_not_count(keeper: WaitKeeper) -> None:
    """They were found later: how long they had waited by then is not known."""
    submitter = cast(Any, keeper._submitter)
    submitter.uncertain = ((None, SimpleNamespace(name="c-1")),)
    assert [each.job for each in written(keeper, job(1), job(2, name="c-2"))] == ["7_2"]


def test_of_thousands_of_jobs_a_hundred_are_written_down(keeper: WaitKeeper) -> None:
    """Those of the end as well as those of the beginning."""
    found = written(keeper, *(job(number) for number in range(3000)))
    assert SAMPLE / 2 < len(found) < SAMPLE * 2
    halves = [sum(int(each.job[2:]) // 1500 == half for each in found) for half in (0, 1)]
    assert min(halves) > len(found) / 4
    assert {each.count for each in found} == {3000}


def test_where_nothing_can_be_written_nothing_is(
    keeper: WaitKeeper, state_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no trouble of the user's."""
    state_directory.parent.mkdir()
    state_directory.write_text("a file, where a folder must be")
    with caplog.at_level(logging.DEBUG, logger="corral"):
        keeper._state.roster.put(job(1))
        keeper.write()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "waits are not remembered" in caplog.text


@pytest.mark.parametrize(("backend", "remember"), [("local", True), ("lines", False)])
def test_who_does_not_want_it_has_nothing_remembered(
    lines: dict[str, Any], state_directory: Path, backend: str, remember: bool
) -> None:
    """Nor anything read. The embedded queue has nothing to teach."""
    add(*(wait(number, asked=evolve(ASKED, backend=backend)) for number in range(5)))
    before = os.listdir(state_directory / "waits")
    with dask.config.set({"corral.remember-waits": remember}):
        keeper = keeper_of({**lines, "backend": backend})
        assert not keeper._remembers("default")
        group = group_of(keeper)
        keeper.prime(group)
        assert not group.waits
        written(keeper, job(1), at_once=True)
    assert os.listdir(state_directory / "waits") == before


def test_queues_of_the_user_s_own_directives_are_told_apart(
    lines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are servers."""
    plain = asked_of(draw(lines), "default")
    chosen = asked_of(draw({**lines, "extra_directives": ["--qos=high"]}), "default")
    monkeypatch.setenv("LINES_SERVER", "b.example")
    elsewhere = asked_of(draw(lines), "default")
    assert (plain.directives, plain.server, elsewhere.server) == ("", "", "LINES_SERVER=b.example")
    assert chosen.directives
    assert "qos" not in chosen.directives
    assert not chosen.competes_with(plain)


# --- clusters ---------------------------------------------------------------------------------------------------


@pytest.fixture
def made(lines: dict[str, Any]) -> Iterator[Callable[..., Cluster]]:
    open_clusters: list[Cluster] = []

    def make(**arguments: Any) -> Cluster:
        open_clusters.append(Cluster(**{**lines, **arguments}))
        return open_clusters[-1]

    yield make
    for each in open_clusters:
        each.close()


def group_at_work(cluster: Cluster, name: str = "default") -> Group:
    assert cluster._engine is not None
    return cluster._engine.groups[name]


def test_a_cluster_begins_with_what_the_one_before_has_seen(made: Callable[..., Cluster]) -> None:
    """Its first decision is no guess; of a group that comes later neither. Other kinds of jobs are as new as ever."""
    with made() as first:
        assert not group_at_work(first).waits
        first.scale(jobs=2)
        first.wait_for_workers(2, timeout=90)
        waits = sorted(group_at_work(first).waits)
    assert len(waits) == 2
    with made() as second:
        group = group_at_work(second)
        assert sorted(group.waits) == pytest.approx(waits, abs=0.2)
        assert group.usual_wait == pytest.approx(waits[-1], abs=0.2)
        for name, spec in {"like": WorkerGroup(cores=1, memory="100MB", queue="local", walltime="1h"),
                           "unlike": WorkerGroup(cores=1, memory="100MB", walltime="1h")}.items():  # fmt: skip
            second.add_group(name, spec)
        assert len(group_at_work(second, "like").waits) == 2
        assert not group_at_work(second, "unlike").waits


def test_how_long_jobs_take_to_start_is_learnt_where_nobody_saw_them_start(
    made: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch system is asked once a minute at most, and a worker is there within seconds: its launcher says it."""
    monkeypatch.setattr(Rhythm, "often", lambda: Rhythm(after_change=(600.0,)))
    with made() as cluster:
        cluster.scale(jobs=2)
        cluster.wait_for_workers(2, timeout=90)
        group = group_at_work(cluster)
        assert not any(job.was_listed for job in cluster.jobs)
        assert len(group.starts) == 2
        assert all(0.1 < start <= wait for start, wait in zip(group.starts, group.waits, strict=True))
    assert all(each.started_up for each in kept_waits.read())


def test_other_clusters_need_not_wait_for_the_end(
    made: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one, which may be days away, or killed."""
    monkeypatch.setattr(keeping_waits, "INTERVAL", 0.05)
    monkeypatch.setattr(keeping_waits, "SETTLED", 0.0)
    cluster = made()
    cluster.scale(jobs=1)
    cluster.wait_for_workers(1, timeout=90)
    deadline = time.monotonic() + 30
    while not kept_waits.read():
        assert time.monotonic() < deadline, cluster.jobs
        time.sleep(0.02)


def test_what_a_cluster_sees_itself_replaces_what_it_was_told(lines: dict[str, Any]) -> None:
    """The queue is another today."""
    add(*(wait(number, 5000.0) for number in range(30)))
    keeper = keeper_of(lines)
    keeper._history = kept_waits.read()
    group = group_of(keeper)
    keeper.prime(group)
    assert set(group.waits) == {5005.0}
    assert set(group.starts) == {5.0}
    for number in range(20):
        group.has_come(job(number))
    assert set(group.waits) == {330.0}
    assert set(group.starts) == {30.0}


def test_shorter_jobs_that_start_at_once_are_told_when_a_cluster_begins(
    made: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """Once for a cluster, however many groups it has."""
    short = evolve(ASKED, walltime=600)
    add(*(wait(number, 7200.0) for number in range(8)), *(wait(100 + number, 40.0, asked=short) for number in range(8)))
    group = WorkerGroup(cores=1, memory="100MB", queue="local", walltime="1h")
    made(groups={"one": group, "other": group}, cores=None, memory=None)
    told = [record.message for record in caplog.records if "would start sooner" in record.message]
    assert len(told) == 1
    assert told[0].endswith(
        "in queue 'local' jobs of at most 10 min have usually waited 40 s, those of 1 h 2 h: walltime='10min' would "
        "start sooner"
    )
