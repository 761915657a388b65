"""A Prefect flow that has a cluster made for each run, which ends with it."""

from prefect import flow, task
from prefect_dask import DaskTaskRunner


@task
def simulate(seed: int) -> int:
    """Stand in for an hour of work."""
    return seed * seed


# What it needs is in the configuration.
@flow(task_runner=DaskTaskRunner(cluster_class="corral.Cluster", adapt_kwargs={"maximum": 2}))
def ensemble(members: int) -> int:
    """Simulate each member, and sum up."""
    return sum(simulate.map(range(members)).result())


if __name__ == "__main__":
    print("sum", ensemble(10))
