"""Three steps for each of many files, on a cluster that the configuration describes."""

import dask
from dask.distributed import Client

from corral import Cluster


@dask.delayed
def load(number: int) -> list[int]:
    """Stand in for reading a file."""
    return list(range(number))


@dask.delayed
def clean(values: list[int]) -> list[int]:
    """Keep what is even."""
    return [value for value in values if value % 2 == 0]


@dask.delayed
def summarise(parts: list[list[int]]) -> int:
    """Add up all parts."""
    return sum(sum(part) for part in parts)


cluster = Cluster()
print(cluster.job_script())
cluster.scale(4)
client = Client(cluster)

result = summarise([clean(load(number)) for number in range(40)]).compute()
print("summary", result)

client.close()
cluster.close()
