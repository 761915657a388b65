"""A function of many parameters, on as many jobs as there is work for."""

from dask.distributed import Client, as_completed

from corral import Cluster


def energy(x: float) -> float:
    """Stand in for an hour's simulation."""
    return (x - 3) ** 2 + 1


cluster = Cluster(
    backend="pbs",
    name="sweep",
    queue="workq",
    account="UBIO0001",
    cores=1,
    processes=1,
    memory="1GB",
    walltime="00:10:00",
    extra_directives=["-l select=1:ncpus=1:mem=1GB", "-j oe"],
    prologue=["cd $PBS_O_WORKDIR"],
    death_timeout=240,
)
cluster.adapt(minimum=1, maximum=4, wait_count=60)
client = Client(cluster)

best = min(
    (result, future.key)
    for future, result in as_completed(
        [client.submit(energy, x / 10, key=f"x={x / 10}") for x in range(60)], with_results=True
    )
)
print("best", best)

client.close()
cluster.close()
