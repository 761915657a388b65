"""What workers use of what was asked for, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from corral.jobs.group import Group
from corral.jobs.record import JobRecord
from corral.jobs.table import Roster
from corral.launch.used import USED
from corral.plugin.values import JobId, JobState, JobStatus
from corral.remote.messages import State, to_plain, to_state
from corral.request.worker_group import WorkerGroup
from corral.scaling.usage import Census
from corral.scaling.used import Meter, Reading, Used

NOW = 10_000.0


def says(address: str, memory: float, cores: float, *, node: object = 1, busy: bool = True, **more: bool) -> Reading:
    """What a worker says: gigabytes, and seconds of cores."""
    used = {"memory": round(memory * 10**9), "cores": cores, "has_programs": False, **more}
    return Reading(address=address, node=node, group="default", is_busy=busy, metrics={USED: used})


def metered(*rounds: list[Reading], memory: float = 32, cores: int = 16, processes: int = 1, threads: int = 16) -> Used:
    """What comes out when workers are read once a minute."""
    meter = Meter()
    for number, readings in enumerate(rounds):
        meter.read(readings, NOW + 60 * number)
    return meter.used("default", memory=int(memory * 10**9), cores=cores, processes=processes, threads=threads)


def test_much_less_memory_than_was_asked_is_told() -> None:
    """With what would do: Dask's workers begin to spill at 70 % of their limit."""
    used = metered([says("a", 1.2, 0)], [says("a", 4.1, 900)], [says("a", 3.0, 1800)])
    assert used.peak_memory == 4.1e9
    assert used.busy_cores == pytest.approx(15)
    assert used.advice == ("asked 32 GB, peak 4.1 GB: memory='6GB' would do",)
    assert metered([says("a", 1.2, 0)], [says("a", 0.25, 900)], memory=8).advice == (
        "asked 8 GB, peak 1.2 GB: memory='2GB' would do",
    )
    assert metered([says("a", 0.2, 0)], [says("a", 0.25, 900)], memory=2).advice == (
        "asked 2 GB, peak 250 MB: memory='400MB' would do",
    )


def test_memory_is_of_the_hungriest_node_and_worker() -> None:
    """Each worker may use its share of a node only: one that is large needs a large node."""
    workers = [says("a", 1, 0), says("b", 4, 0), says("c", 2, 0, node=2), says("d", 2, 0, node=2)]
    used = metered(workers, workers, processes=2, threads=8)
    assert used.peak_memory == 5e9
    assert used.enough_memory == pytest.approx(8e9 / 0.7, abs=1)
    assert used.advice[0] == "asked 32 GB, peak 5 GB: memory='12GB' would do"


def test_few_busy_cores_are_told() -> None:
    """On average, while there were tasks: what idle workers do not use is idle time, which is told anyway."""
    idle = [says("a", 30, 180, busy=False)]
    used = metered([says("a", 30, 0)], [says("a", 30, 180, busy=False)], idle, idle)
    assert used.seconds == 60
    assert used.busy_cores == pytest.approx(3)
    [advice] = used.advice
    assert advice.startswith("asked 16 cores, 3.0 busy on average while workers had tasks: fewer cores= would do")
    # Somebody asked for cores because memory comes with them.
    assert not metered([says("a", 30, 0)], [says("a", 30, 180)], threads=4).advice


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param([[says("a", 1, 0)]], id="too early"),
        pytest.param([[says("a", 1, 0, busy=False)], [says("a", 1, 900, busy=False)]], id="no task"),
        pytest.param([[says("a", 1, 0)], [says("a", 1, 900, has_programs=True)]], id="memory of programs"),
        pytest.param([[says("a", 12, 0)], [says("a", 12, 900)]], id="half of it is needed"),
        pytest.param([[evolve(says("a", 1, 0), metrics={})]] * 2, id="another version"),
    ],
)
def test_nothing_is_advised_without_evidence(rounds: list[list[Reading]]) -> None:
    """Whoever follows the advice must not lose jobs by it."""
    assert metered(*rounds).advice == ()


def test_the_account_shows_what_was_used() -> None:
    """By group, beside what was asked for, with the advice below."""
    spec = WorkerGroup(cores=16, processes=1, memory="32GB")
    group = Group(name="default", cluster="c", spec=spec, resources=spec.resources)
    roster = Roster(lambda *_: None)
    running = JobStatus(state=JobState.RUNNING, hosts=["n1"])
    roster.put(JobRecord(id=JobId("1"), status=running, started_at=NOW - 600))
    roster.worker_came("tls://n1:1", "1-0", NOW - 500)
    worker = SimpleNamespace(
        processing={"task": 1.0}, actors=(), nbytes=0, host="n1", metrics=dict(says("", 4.1, 0).metrics)
    )
    scheduler: Any = SimpleNamespace(workers={"tls://n1:1": worker})
    census = Census(cluster="c", scheduler=scheduler, roster=roster)
    census.look({"default": group}, NOW)
    worker.metrics = says("", 4.1, 90 * 12.0).metrics
    census.look({"default": group}, NOW + 90)

    account = census.ledger.account()

    used = account.groups["default"].used
    assert (used.peak_memory, used.asked_memory, used.asked_cores) == (4.1e9, 32e9, 16)
    assert used.busy_cores == pytest.approx(12)
    assert str(account).splitlines()[-3:] == [
        "per node   peak memory       asked  busy cores       asked",
        "default         4.1 GB       32 GB        12.0          16",
        "default: asked 32 GB, peak 4.1 GB: memory='6GB' would do",
    ]
    # Handles in other processes show the same.
    assert to_state(to_plain(State(backend="local", groups={}, account=account))).account == account
