"""What tide gauges have measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Client

from tides.running import client_of


def tidal_range(levels: Sequence[float]) -> float:
    """Highest minus lowest level of one gauge."""
    return max(levels) - min(levels)


def tidal_ranges(
    gauges: Sequence[Sequence[float]], *, client: Client | None = None, jobs: Mapping[str, Any] | None = None
) -> list[float]:
    """The range of every gauge.

    Parameters
    ----------
    client
        Where to compute, if you have a Dask client already.
    jobs
        What jobs of a batch system to use instead: arguments of `corral.Cluster`, and ``maximum_jobs``.
        Neither: this process computes.
    """
    with client_of(client, jobs) as found:
        if found is None:
            return [tidal_range(levels) for levels in gauges]
        return found.gather(found.map(tidal_range, gauges))
