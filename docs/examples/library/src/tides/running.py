"""Where the library's tasks run. All that it knows of clusters is in this file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import Client

#: What suits this library's tasks, unless its users say otherwise.
OURS: Mapping[str, Any] = {"name": "tides", "threads": 1, "preimport": ["tides"]}
MAXIMUM_JOBS = 20


@contextmanager
def client_of(client: Client | None, jobs: Mapping[str, Any] | None) -> Iterator[Client | None]:
    """The client that somebody has, or one on jobs that end with the block; None: neither was asked for."""
    if client is not None or jobs is None:
        yield client
        return
    try:
        import corral
    except ImportError as error:
        raise ImportError("jobs= needs corral: pip install 'tides[jobs]'") from error
    options = {**OURS, **jobs}
    maximum = options.pop("maximum_jobs", MAXIMUM_JOBS)
    with corral.Cluster(**options) as cluster, Client(cluster) as ours:
        cluster.adapt(maximum_jobs=maximum)
        yield ours
