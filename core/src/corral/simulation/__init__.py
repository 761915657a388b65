"""A batch queue and a Dask-like load in virtual time, to try a scaling policy on before people's allocations do.

The decisions are made by the very code that a cluster runs: `corral.scaling.policy.decide` and
`corral.jobs.plan.plan`. Loads and queues are files; :mod:`corral.simulation.scenario` describes them. ::

    outcome = simulate(Load.read("bursts"), Queue.read("hours"), Corral())
    print(outcome.makespan, outcome.wasted_core_hours)
"""

from __future__ import annotations

from corral.simulation.clairvoyant import Clairvoyant, distance, front
from corral.simulation.jobs import Ends
from corral.simulation.scenario import Load, Queue
from corral.simulation.steering import Corral, Dask, Fixed
from corral.simulation.world import Outcome, World, simulate

__all__ = [
    "Clairvoyant", "Corral", "Dask", "Ends", "Fixed", "Load", "Outcome", "Queue", "World", "distance", "front",
    "simulate",
]  # fmt: skip
