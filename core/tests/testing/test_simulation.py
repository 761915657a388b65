"""The simulator: what it computes can be worked out by hand, and what it drives is the real policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from corral.jobs.group_state import STRIKES
from corral.scaling.bounds import Bounds
from corral.scaling.views import Rules
from corral.scaling.workload import Kind
from corral.simulation import Corral, Dask, Ends, Fixed, Load, Queue, World, simulate
from corral.simulation.__main__ import main
from corral.simulation.scenario import Step, Tasks, ours

CPU = Kind(name="cpu", threads=2, cores=2, resources={"cpu": 2})
GPU = Kind(name="gpu", threads=2, cores=2, gpus=1, resources={"GPU": 1})


def load(*stages: tuple[Tasks, ...], repeat: int = 1, pause: float = 0.0, kinds: tuple[Kind, ...] = (CPU,)) -> Load:
    return Load(title="", kinds=kinds, steps=(Step(stages=stages, pause=pause),) * repeat, uniform="cpu", fixed=2)


def test_a_fixed_size_takes_what_it_takes() -> None:
    """Two jobs of two threads, 8 tasks of 100 s: 60 s in the queue, 30 s to start, two rounds."""
    outcome = simulate(load((Tasks(name="a", count=8, seconds=100),)), Queue(title="", median=60, start_up=30), Fixed())
    assert outcome.makespan == pytest.approx(60 + 30 + 200, abs=15)
    assert (outcome.submitted, outcome.requests, outcome.cancelled) == (2, 1, 0)
    assert outcome.core_hours == pytest.approx(4 * (outcome.makespan - 60) / 3600)
    assert outcome.wasted_core_hours == pytest.approx(outcome.core_hours - 8 * 100 / 3600)


def test_jobs_run_as_many_at_a_time_as_they_may_and_in_the_order_of_a_trace() -> None:
    """One at a time: the second begins when the walltime of the first is near, and it has no time for another task."""
    queue = Queue(title="", trace=(10.0, 20.0), start_up=0.0, running=1, walltime=1500.0)
    outcome = simulate(load((Tasks(name="a", count=4, seconds=900),)), queue, Fixed())
    assert outcome.makespan == pytest.approx(10 + 900 + 900, abs=4)


@pytest.mark.parametrize(
    ("ends", "rounds", "interrupted"), [(Ends.CUT, 500.0, 2), (Ends.DRAINED, 495.0, 2), (Ends.HEEDED, 402.0, 0)]
)
def test_what_ends_of_jobs_cost(ends: Ends, rounds: float, interrupted: int) -> None:
    """Tasks of 200 s on jobs of 500 s: the third of each thread is begun and cut off, or not begun."""
    short = evolve(load((Tasks(name="a", count=6, seconds=200),)), fixed=1)
    outcome = simulate(short, Queue(title="", start_up=0.0, walltime=500.0), Fixed(ends=ends))
    assert outcome.interrupted == interrupted
    assert outcome.makespan == pytest.approx(rounds + 200, abs=5)
    assert outcome.lost_core_hours == pytest.approx(2 * (rounds - 400) / 3600, abs=0.002)
    assert outcome.lost_core_hours <= outcome.wasted_core_hours


def test_tasks_of_half_an_hour_on_jobs_of_two_lose_nearly_nothing() -> None:
    """A thousand of them on fifty jobs, in a queue of twenty minutes; nobody has said how long they take."""
    half_hours, queue = Load.read("half-hours"), Queue.read("twenty")
    [tasks] = half_hours.steps[0].stages[0]
    assert (tasks.count, tasks.seconds, tasks.expected) == (1000, 1800, None)
    assert (half_hours.fixed, half_hours.maximum, half_hours.walltime, queue.median) == (50, 50, 7200, 1200)
    kept = simulate(half_hours, queue, Fixed(), interval=10.0)
    adapted = simulate(half_hours, queue, Corral(), interval=10.0)
    before = simulate(half_hours, queue, Fixed(ends=Ends.DRAINED), interval=10.0)
    assert kept.lost_core_hours <= 0.02 * kept.core_hours
    assert adapted.lost_core_hours <= 0.02 * adapted.core_hours
    assert before.lost_core_hours > 0.1 * before.core_hours
    # Replacements are there in time, whoever decides, and few of them are given up while they wait.
    assert max(kept.makespan, adapted.makespan) < 1.3 * 1000 * 1800 / 50
    assert max(kept.cancelled, adapted.cancelled) <= 0.05 * kept.submitted
    assert (kept.interrupted, adapted.interrupted) == (0, 0)


def test_short_tasks_fill_what_long_ones_leave() -> None:
    """The user says how long each takes: after the long one there is time for two short ones."""
    stage = (
        Tasks(name="long", count=2, seconds=900, expected=900),
        Tasks(name="short", count=4, seconds=200, expected=200),
        Tasks(name="last", count=2, seconds=900, expected=900),
    )
    one = evolve(load(stage, kinds=(evolve(CPU, threads=1, cores=1),)), fixed=2)
    outcome = simulate(one, Queue(title="", start_up=0.0, walltime=1500.0), Fixed())
    assert outcome.makespan == pytest.approx(900 + 400 + 900, abs=5)
    assert outcome.interrupted == 0


def test_tasks_run_where_they_can(tmp_path: Path) -> None:
    """Only GPU jobs run what needs one; corral asks for both kinds, and for no more than there is to do."""
    stage = (
        Tasks(name="a", count=40, seconds=600, need=(("cpu", 1),)),
        Tasks(name="b", count=3, seconds=600, need=(("GPU", 1),)),
    )
    corral = Corral(bounds={"gpu": Bounds(maximum=2)})
    outcome = simulate(load(stage, kinds=(CPU, GPU)), Queue(title="", median=5), corral)
    assert outcome.submitted == 20 + 2
    assert outcome.makespan == pytest.approx(2 * 600, rel=0.2)


def test_gpu_hours_are_counted_beside_core_hours() -> None:
    """Of jobs that have GPUs, from their start."""
    stage = (Tasks(name="a", count=4, seconds=600, need=(("GPU", 1),)),)
    two = evolve(load(stage, kinds=(evolve(GPU, gpus=2, resources={"GPU": 2}),)), uniform="gpu")
    outcome = simulate(two, Queue(title="", median=60, start_up=30), Fixed())
    assert outcome.gpu_hours == pytest.approx(4 * (outcome.makespan - 60) / 3600)
    assert simulate(load((Tasks(name="a", count=4, seconds=600),)), Queue(title=""), Fixed()).gpu_hours == 0


def test_corral_keeps_its_jobs_over_a_pause_and_dask_does_not() -> None:
    """That is the whole point: each job that has come stays, and none is asked for instead of it."""
    bursts = load((Tasks(name="a", count=100, seconds=20),), repeat=5, pause=30)
    queue = Queue(title="", median=600, spread=0.5)
    own, other = simulate(bursts, queue, Corral()), simulate(bursts, queue, Dask())
    assert own.makespan < other.makespan / 2
    assert own.requests < other.requests / 10
    assert own.cancelled < other.cancelled / 5
    kept, replaced = (
        (outcome.submitted - outcome.cancelled) / max(running for _, running, _ in outcome.history)
        for outcome in (own, other)
    )
    assert kept < 1.2
    assert replaced > 2


def test_idle_jobs_leave_when_a_cluster_would_notice() -> None:
    """It looks every second: where they are kept for a few seconds, ten more would be most of what they cost."""
    work = load((Tasks(name="a", count=16, seconds=20),), repeat=2, pause=300)
    outcome = simulate(work, Queue(title="", median=30, start_up=2.0), Corral(Rules(idle_timeout=3.0)))
    # Eight jobs: one round.
    came = next(moment for moment, working, _ in outcome.history if working == 8)
    left = next(moment for moment, working, _ in outcome.history if moment > came and not working)
    assert 23 <= left - came <= 26


def test_failing_jobs_stop_the_group_and_not_the_simulation() -> None:
    """The breaker is in the plan, and the plan is the real one: after the first guess come a few single ones."""
    corral = Corral()
    world = World(load((Tasks(name="a", count=100, seconds=20),)), Queue(title="", failing=1.0))
    outcome = world.run(corral, limit=7200.0)
    assert corral._states["cpu"].broken
    guess = outcome.history[1][2]
    assert guess < 50, "two tasks at a time"
    assert outcome.submitted < guess + STRIKES
    assert outcome.history[-1][1] == 0


@pytest.mark.parametrize("name", ours("loads"))
def test_every_load_can_be_read_and_computed(name: str) -> None:
    """By whoever has a group for its tasks."""
    found = Load.read(name)
    assert found.title
    assert found.uniform in {kind.name for kind in found.kinds}
    for step in found.steps:
        for tasks in (tasks for stage in step.stages for tasks in stage):
            assert any(kind.room(tasks.need) for kind in found.kinds)
            assert next(kind for kind in found.kinds if kind.name == found.uniform).room(tasks.need)


@pytest.mark.parametrize("name", ours("queues"))
def test_every_queue_can_be_read(name: str) -> None:
    """And used."""
    outcome = simulate(load((Tasks(name="a", count=8, seconds=100),)), Queue.read(name), Corral(Rules()))
    assert 0 < outcome.wasted_core_hours < outcome.core_hours


def test_a_simulation_is_repeatable() -> None:
    """The same seed, the same story; another seed, another."""
    bursts, queue = Load.read("session"), Queue.read("minutes")
    assert simulate(bursts, queue, Corral(), seed=1) == simulate(bursts, queue, Corral(), seed=1)
    assert simulate(bursts, queue, Corral(), seed=1) != simulate(bursts, queue, Corral(), seed=2)


def test_the_comparison_makes_the_folder_that_it_writes_into(tmp_path: Path) -> None:
    """Not after minutes of work, and with its parents."""
    output = tmp_path / "new" / "folder"
    done = CliRunner().invoke(
        main, ["--load", "session", "--queue", "instant", "--seeds", "1", "--output", str(output)]
    )
    assert done.exit_code == 0, done.output
    told = [(output / name).read_text().split("\n\n", 1)[1] for name in ("policy.txt", "prefer.txt")]
    assert done.stdout == "".join(f"{text}\n" for text in told)
    [row] = [row for row in done.stdout.splitlines() if "| fixed size |" in row]
    assert row.split(" | ")[6] == "-", "it has no GPUs"
    [row] = [row for row in done.stdout.splitlines() if "| corral |" in row]
    assert float(row.split(" | ")[4]) > 0.5, "how far from a clairvoyant"
    assert "| instant | cost |" in done.stdout
