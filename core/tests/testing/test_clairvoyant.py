"""The bound: what it does can be worked out by hand where a load is small, and nobody does better where it is not."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from attrs import evolve

from corral.scaling.workload import Kind
from corral.simulation import Clairvoyant, Corral, Fixed, Load, Outcome, Queue, World, distance, front, simulate
from corral.simulation.clairvoyant import makespan_at
from corral.simulation.hindsight import Hindsight, Shape
from corral.simulation.scenario import Step, Tasks
from corral.simulation.world import LIMIT

CPU = Kind(name="cpu", threads=2, cores=2, resources={"cpu": 2})
GPU = Kind(name="gpu", threads=2, cores=2, gpus=1, resources={"cpu": 2, "GPU": 1})
WIDE = Tasks(name="wide", count=8, seconds=300)
NARROW = Tasks(name="narrow", count=1, seconds=200)
#: Every job waits for as long, and starts in no time.
EXACT = Queue(title="", median=60, start_up=0.0)


def load(*stages: tuple[Tasks, ...], kinds: tuple[Kind, ...] = (CPU,), pause: float = 0.0, repeat: int = 1) -> Load:
    return Load(title="", kinds=kinds, steps=(Step(stages=stages, pause=pause),) * repeat, uniform="cpu", fixed=2)


def run(found: Load, queue: Queue, shape: Shape, seed: int = 0) -> tuple[World, Outcome]:
    world = World(found, queue, seed=seed)
    return world, world.run(Hindsight(shape=shape, choice=0))


def test_jobs_come_when_they_are_needed_and_are_gone_when_they_are_not() -> None:
    """Four jobs, one, four: none waits for another stage, although each had to wait for the queue."""
    found = load((WIDE,), (NARROW,), (WIDE,))
    world, outcome = run(found, EXACT, Shape(widths={WIDE: 4, NARROW: 1}))
    assert outcome.makespan == pytest.approx(60 + 300 + 200 + 300)
    # Two threads of the narrow stage's job, of which one has nothing to do; and a second for each job to leave.
    assert outcome.core_hours * 3600 == pytest.approx(4 * 2 * 300 + 2 * 200 + 4 * 2 * 300, abs=20)
    assert outcome.submitted == 4 + 3
    assert min(job.submitted_at for job in world.ended.values()) >= 0.0
    # Whoever was there comes in time; and a pause in which they were gone costs nothing.
    assert [count for _, count, _ in outcome.history if count] == [4, 1, 4]


def test_jobs_stay_where_a_new_one_would_cost_more() -> None:
    """A job starts in 100 s or so: over a pause of 20 s it is kept, over one of 200 s it is not."""
    shape = Shape(widths={WIDE: 4})
    slow = evolve(EXACT, start_up=100.0)
    kept, replaced = (run(load((WIDE,), pause=pause, repeat=3), slow, shape)[1] for pause in (20.0, 200.0))
    assert (kept.submitted, replaced.submitted) == (4, 12)
    assert kept.core_hours * 3600 == pytest.approx(4 * 2 * (3 * 300 + 2 * 20 + 100), rel=0.05)
    assert replaced.core_hours * 3600 == pytest.approx(4 * 2 * 3 * (300 + 100 + 1), rel=0.1)


def test_who_has_worked_last_stays() -> None:
    """One job is free after 100 s, the other after 300 s, and one is needed at 320 s."""
    short, long = Tasks(name="short", count=1, seconds=100), Tasks(name="long", count=1, seconds=300)
    one = evolve(CPU, threads=1, cores=1)
    found = load((short, long), kinds=(one,))
    found = evolve(found, steps=(*found.steps, Step(pause=20.0, stages=((NARROW,),))))
    _, outcome = run(found, evolve(EXACT, start_up=100.0), Shape(widths={short: 2, long: 2, NARROW: 1}))
    assert outcome.submitted == 2
    assert outcome.core_hours * 3600 == pytest.approx(2 * 100 + 100 + 300 + 20 + 200, rel=0.1)


def test_what_is_given_out_first_decides_first() -> None:
    """One job for tasks that need something, which come first, and four for the others."""
    needy = Tasks(name="needy", count=4, seconds=300, need=(("cpu", 1.0),))
    _, outcome = run(load((WIDE, needy)), EXACT, Shape(widths={WIDE: 4, needy: 1}))
    assert [count for _, count, _ in outcome.history if count][:2] == [1, 4]
    assert outcome.makespan < 60 + 4 * 300


def test_who_is_patient_keeps_what_cannot_be_replaced_in_time() -> None:
    """In the beginning nobody can come earlier than the queue lets him."""
    two = load((WIDE,), (NARROW,), (WIDE,))
    trace = evolve(EXACT, trace=(60.0, 60.0, 60.0, 60.0, 3600.0))
    _, patient = run(two, trace, Shape(widths={WIDE: 4, NARROW: 1}, patience=math.inf))
    _, thrifty = run(two, trace, Shape(widths={WIDE: 4, NARROW: 1}, patience=0.0))
    assert patient.makespan == pytest.approx(60 + 300 + 200 + 300)
    assert thrifty.makespan == pytest.approx(60 + 300 + 200 + 600)


def test_a_tail_is_left_to_as_few_as_it_is_worth() -> None:
    """Six of eight jobs leave when the short tasks have been given out; the long ones fill the other two."""
    short, long = Tasks(name="short", count=160, seconds=30, spread=0.3), Tasks(name="long", count=4, seconds=3600)
    _, many = run(load((short, long)), EXACT, Shape(widths={short: 8, long: 4}))
    _, few = run(load((short, long)), EXACT, Shape(widths={short: 8, long: 2}))
    assert few.makespan == pytest.approx(many.makespan, rel=0.02)
    assert few.core_hours < 0.8 * many.core_hours


def test_it_asks_for_gpus_where_they_are_needed() -> None:
    """Unless all tasks are to run on jobs of the one kind that can run everything."""
    train = Tasks(name="train", count=4, seconds=300, need=(("GPU", 1.0),))
    both = evolve(load((WIDE,), (train,), kinds=(CPU, GPU)), uniform="gpu")
    world, outcome = run(both, EXACT, Shape(widths={WIDE: 4, train: 4}))
    assert [job.kind.name for job in world.ended.values()] == ["cpu"] * 4 + ["gpu"] * 4
    assert outcome.gpu_hours * 3600 == pytest.approx(4 * 300, abs=10)
    world, _ = run(both, EXACT, Shape(widths={WIDE: 4, train: 4}, is_uniform=True))
    assert {job.kind.name for job in world.ended.values()} == {"gpu"}


@pytest.mark.parametrize("kinds", [(CPU, GPU), (GPU, CPU)])
def test_it_has_no_more_jobs_at_a_time_than_may_run(kinds: tuple[Kind, ...]) -> None:
    """Who is parked makes room, and who needs it comes at once."""
    train = Tasks(name="train", count=4, seconds=300, need=(("GPU", 1.0),))
    prepare = evolve(WIDE, need=(("cpu", 1.0),))
    only_gpu = evolve(GPU, resources={"GPU": 1})
    both = load((prepare, train), kinds=tuple(only_gpu if kind is GPU else kind for kind in kinds))
    _, outcome = run(both, evolve(EXACT, running=4), Shape(widths={prepare: 4, train: 4}))
    assert max(connected for _, connected, _ in outcome.history) == 4
    assert outcome.makespan == pytest.approx(60 + 2 * 300, abs=5)
    assert outcome.submitted == 8


def test_it_has_no_more_jobs_than_have_something_to_do() -> None:
    """However many may come."""
    _, outcome = run(load((WIDE,)), EXACT, Shape(widths={WIDE: 100}))
    assert outcome.submitted == 4


@pytest.mark.parametrize(("start_up", "jobs"), [(0.0, 2), (300.0, 3)])
def test_jobs_that_end_are_replaced_in_time(start_up: float, jobs: int) -> None:
    """One has time for two rounds, unless it takes long to start; another one is there when it has none."""
    found = load((Tasks(name="wide", count=8, seconds=600),))
    [wide] = found.steps[0].stages[0]
    world, outcome = run(evolve(found, walltime=1500.0), evolve(EXACT, start_up=start_up), Shape(widths={wide: 1}))
    assert outcome.makespan == pytest.approx(60 + start_up + 4 * 600, rel=0.05)
    assert (outcome.submitted, outcome.interrupted) == (jobs, 0)
    assert {round(job.cut_at - (job.started_at or 0.0)) for job in world.ended.values()} == {1500 - 5}


def test_what_no_job_has_time_for_is_never_done() -> None:
    """One job comes when the one before it leaves, and not all at the same moment."""
    said = Tasks(name="wide", count=2, seconds=600, expected=600)
    _, outcome = run(evolve(load((said,)), walltime=500.0), EXACT, Shape(widths={said: 1}))
    assert outcome.makespan >= LIMIT
    assert outcome.submitted == pytest.approx(LIMIT / 500, rel=0.3)


def test_a_job_is_replaced_when_its_first_thread_has_no_time() -> None:
    """One is free after 900 s of 1500, and the other after 1200; nobody waits for that."""
    long, short = Tasks(name="long", count=1, seconds=900), Tasks(name="short", count=4, seconds=600)
    found = evolve(load((long, short)), walltime=1500.0)
    _, outcome = run(found, EXACT, Shape(widths={long: 1, short: 1}))
    assert outcome.makespan == pytest.approx(60 + 900 + 600, abs=5)
    assert outcome.submitted == 2


def test_what_an_hour_is_worth_decides_how_many_jobs_there_are() -> None:
    """From one job to one for each two tasks."""
    found, queue = load((WIDE,)), evolve(EXACT, start_up=30.0)
    poor, rich = simulate(found, queue, Clairvoyant(price=0.01)), simulate(found, queue, Clairvoyant(price=1000.0))
    assert (poor.submitted, rich.submitted) == (1, 4)
    assert rich.makespan < poor.makespan / 2
    assert rich.core_hours > poor.core_hours


def test_a_front_leads_from_the_cheapest_to_the_fastest() -> None:
    """Between its outcomes it is interpolated, and at its ends it ends."""
    found = front(Load.read("search"), Queue.read("minutes"))
    assert len(found) > 5
    for before, after in pairwise(found):
        assert before.core_hours < after.core_hours
        assert before.makespan > after.makespan
    middle = (found[2].core_hours + found[3].core_hours) / 2
    assert makespan_at(found, middle) == pytest.approx((found[2].makespan + found[3].makespan) / 2)
    assert makespan_at(found, 0.0) == found[0].makespan
    assert makespan_at(found, 1e9) == found[-1].makespan


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("search", "minutes"), ("search", "limited"), ("session", "instant"), ("session", "hours"),
        *(("unknown", queue) for queue in ("instant", "minutes", "hours", "limited", "busy")),
    ],
)  # fmt: skip
def test_nobody_beats_it(name: str, queue: str) -> None:
    """At equal core-hours nobody is faster, but for what cannot be told from chance."""
    found, where = Load.read(name), Queue.read(queue)
    assert distance(found, where, {1: simulate(found, where, Fixed(), seed=1, interval=10.0)}) > 0.98
    assert distance(found, where, {1: simulate(found, where, Corral(), seed=1, interval=10.0)}) > 0.98


@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_beats_it_where_jobs_end(seed: int) -> None:
    """Although replacements that come early add to the jobs of others."""
    found, where = Load.read("half-hours"), Queue.read("twenty")
    outcome = simulate(found, where, Fixed(), seed=seed, interval=30.0)
    assert 0.98 < distance(found, where, {seed: outcome}) < 1.2


def test_tasks_take_as_long_whoever_decides_about_jobs() -> None:
    """Of the same seed; so they can be compared, and what they wait in the queue as well."""
    found, queue = Load.read("search"), Queue.read("minutes")
    outcomes = [simulate(found, queue, decides, seed=3) for decides in (Fixed(3), Fixed(), Corral(), Clairvoyant(50.0))]
    busy = [outcome.core_hours - outcome.wasted_core_hours for outcome in outcomes]
    assert busy == pytest.approx([busy[0]] * 4)
    first, second = World(found, queue, seed=3), World(found, queue, seed=3)
    second.submit(found.kinds[0], 1)
    waits = [[turn.wait for turn in world.coming(4)] for world in (first, second)]
    assert waits[0][1:] == waits[1][:3]
