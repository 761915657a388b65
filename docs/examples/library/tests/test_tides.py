"""Real jobs, on the queue that comes with corral: no batch system, no mock."""

from collections.abc import Mapping
from typing import Any

import pytest
from distributed import Client, LocalCluster
from tides import tidal_ranges

from corral.errors import InvalidRequest

GAUGES = [[0.0, 2.5, 1.0], [3.0, 3.5]]
JOBS: Mapping[str, Any] = {"backend": "local", "cores": 1, "memory": "400MB", "maximum_jobs": 2}


def test_in_this_process() -> None:
    assert tidal_ranges(GAUGES) == [2.5, 0.5]


def test_with_a_client_that_somebody_has() -> None:
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        assert tidal_ranges(GAUGES, client=client) == [2.5, 0.5]


def test_in_jobs() -> None:
    assert tidal_ranges(GAUGES, jobs=JOBS) == [2.5, 0.5]


def test_a_mistake_in_the_users_words_is_told_in_them() -> None:
    """Before anything is submitted."""
    with pytest.raises(InvalidRequest, match="account="):
        tidal_ranges(GAUGES, jobs={**JOBS, "project": "bio"})
