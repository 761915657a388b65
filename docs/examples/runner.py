"""One program, started many times by srun: one process schedules, one runs this, the others work."""

from dask.distributed import Client

from corral.allocation.ranks import Ranks

with Ranks() as runner, Client(runner) as client:
    client.wait_for_workers(runner.n_workers)
    squares = client.map(lambda x: x**2, range(10))
    print("squares", sum(client.gather(squares)), "on", len(client.scheduler_info()["workers"]))
