"""A Prefect flow whose tasks run on a cluster that outlasts it: many flows can use one."""

from prefect import flow, task
from prefect_dask import DaskTaskRunner

from corral import Cluster


@task
def simulate(seed: int) -> int:
    """Stand in for an hour of work."""
    return seed * seed


@flow
def ensemble(members: int) -> int:
    """Simulate each member, and sum up."""
    return sum(simulate.map(range(members)).result())


if __name__ == "__main__":
    # What it needs is in the configuration.
    with Cluster(n_workers=2) as cluster:
        runner = DaskTaskRunner(address=cluster.scheduler_address, client_kwargs={"security": cluster.security})
        print("sum", ensemble.with_options(task_runner=runner)(10))
