"""What it costs to know the demand, and to decide."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from figures import Figures, at_most

from corral.plugin.values import JobId
from corral.scaling.policy import decide
from corral.scaling.views import IdleJob, Past, Rules, View
from corral.scaling.workload import Demand, Kind
from corral.scaling.workload import Load as Waiting
from corral.simulation import Corral, Load, Queue, simulate
from corral.simulation.scenario import Step, Tasks

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent


def test_demand(figures: Figures) -> None:
    """A hundred thousand tasks wait on a real scheduler, most with one need, a thousand with one of their own."""
    found = json.loads(subprocess.check_output([sys.executable, HERE / "hundred_thousand.py"]))
    figures.alone("a round of `demand` with 100,000 waiting tasks", found["demand"], "ms", at_most(20))
    figures.alone("counting one change of a task's state", found["transition"], "µs", at_most(3))


def test_decision(figures: Figures) -> None:
    """Three groups, ten thousand jobs, of which half are idle."""
    kinds = [Kind(name=name, threads=4, resources={name: 4}) for name in ("cpu", "bigmem", "gpu")]
    idle = [IdleJob(id=JobId(str(number)), since=0.0, came_at=0.0) for number in range(1667)]
    views = [View(kind=kind, connected=3333, idle=idle, waits=[60.0] * 20) for kind in kinds]
    loads = [Waiting(need=((kind.name, 1.0),), ready=1000, duration=float(n)) for kind in kinds for n in range(30)]
    milliseconds = []
    for _ in range(15):
        began = time.process_time()
        decide(Demand(loads=tuple(loads)), views, dict.fromkeys(("cpu",), Past()), 1000.0, Rules())
        milliseconds.append(1000 * (time.process_time() - began))
    figures.alone("a decision about 10,000 jobs in three groups", milliseconds, "ms", at_most(20))


def test_simulation(figures: Figures) -> None:
    """Ten thousand jobs from the first submission to the end of the last task, in virtual time."""
    tasks = Tasks(name="simulate", count=30_000, seconds=600.0, spread=0.2)
    load = Load(title="", kinds=(Kind(name="cpu", threads=2, cores=2),), steps=(Step(stages=((tasks,),)),))
    began = time.process_time()
    outcome = simulate(load, Queue(title="", median=600, spread=0.5), Corral(Rules(is_thrifty=False)), interval=30.0)
    figures.alone("10,000 jobs in virtual time", [time.process_time() - began], "s", at_most(60))
    assert outcome.submitted >= 10_000
