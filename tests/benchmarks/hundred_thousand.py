"""A hundred thousand tasks that wait on a Dask scheduler: prints as JSON what it costs to count them."""

from __future__ import annotations

import asyncio
import json
import time

from distributed import Client, Scheduler

from corral.scaling.demand import DemandCounter

TASKS = 100_000


async def main() -> None:
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler,
        Client(scheduler.address, asynchronous=True) as client,
    ):
        futures = client.map(abs, range(TASKS - 1000), resources={"GPU": 1}, pure=False)
        futures += [client.submit(abs, n, resources={"MEMORY": float(n)}, pure=False) for n in range(1000)]
        while len(scheduler.unrunnable) < TASKS:  # noqa: ASYNC110 - a scheduler's state tells no event
            await asyncio.sleep(0.1)
        counter = DemandCounter()
        counter.listen(scheduler)
        demand = []
        for _ in range(15):
            began = time.process_time()
            found = counter.demand()
            demand.append(1000 * (time.process_time() - began))
        assert sum(load.ready for load in found.loads) == TASKS
        transition = []
        keys = list(scheduler.tasks)
        for start, finish in (("no-worker", "processing"), ("processing", "memory"), ("memory", "waiting")) * 3:
            began = time.process_time()
            for key in keys:
                counter.transition(key, start, finish, stimulus_id="bench")
            transition.append(1e6 * (time.process_time() - began) / TASKS)
        print(json.dumps({"demand": demand, "transition": transition}))


if __name__ == "__main__":
    asyncio.run(main())
