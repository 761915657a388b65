"""What a job was granted, and how workers share it."""

from __future__ import annotations

import pytest

from corral.allocation.detect import Shares, read_grant
from corral.errors import InvalidRequest, NoAllocation
from corral.plugin.values import Allocation, JobId

GIGA = 10**9
JOB = Allocation(job_id=JobId("7"), hosts=("n1", "n2"), cores=16, memory=32 * GIGA)
LOCAL = {"CORRAL_LOCAL_JOB_ID": "3_0", "CORRAL_LOCAL_HOST": "here", "CORRAL_LOCAL_CORES": "4"}
LOCAL |= {"CORRAL_LOCAL_ATTEMPT": "0"}


async def test_the_backend_is_the_one_whose_job_this_is() -> None:
    """A script need not say where it runs."""
    grant = await read_grant(None, environ=LOCAL)
    assert grant.backend == "local"
    assert grant.allocation.hosts == ("here",)
    assert grant.allocation.cores == 4


async def test_outside_of_a_job_there_is_nothing_to_use() -> None:
    """And a login node is not taken over by mistake."""
    with pytest.raises(NoAllocation, match="corral submit"):
        await read_grant(None, environ={})


async def test_this_machine_can_be_named() -> None:
    """The script that runs in jobs can be tried at home."""
    grant = await read_grant("local", environ={})
    assert len(grant.allocation.hosts) == 1
    assert grant.allocation.cores


def test_workers_share_a_node_evenly() -> None:
    """About the square root of the cores, as in jobs of a cluster; the script keeps some memory."""
    shares = Shares.of(JOB)
    assert (shares.processes, shares.threads) == (4, 4)
    assert shares.memory_limit == (32 * GIGA - 2 * 2**30) // 4
    assert shares.resources.cores == 16


@pytest.mark.parametrize(
    ("wishes", "processes", "threads"),
    [
        ({"processes": 8}, 8, 2),
        ({"threads": 2}, 8, 2),
        ({"processes": 3, "threads": 1}, 3, 1),
        ({"processes": 32}, 32, 1),
        ({"cores": 8, "processes": 2}, 2, 4),
    ],
)
def test_what_is_said_is_so(wishes: dict[str, int], processes: int, threads: int) -> None:
    """Workers per node, threads per worker, cores that may be used."""
    shares = Shares.of(JOB, **wishes)
    assert (shares.processes, shares.threads) == (processes, threads)


def test_each_gpu_has_a_worker() -> None:
    """Unless another number is asked for."""
    job = Allocation(job_id=JobId("7"), hosts=("n1",), cores=16, memory=32 * GIGA, gpus=("0", "1", "2", "3"))
    assert Shares.of(job).processes == 4
    assert Shares.of(job).gpus == 4
    assert Shares.of(job, processes=2).processes == 2


@pytest.mark.parametrize(
    ("wish", "limit"),
    [("auto", (32 * GIGA - 2 * 2**30) // 4), ("4GB", 4 * GIGA), (0.25, 8 * GIGA), ("0.25", 8 * GIGA), ("0", 0), (0, 0)],
)
def test_a_memory_limit_is_what_distributed_takes_it_for(wish: float | str, limit: int) -> None:
    """An amount, a fraction of all, or none."""
    assert Shares.of(JOB, memory_limit=wish).memory_limit == limit


@pytest.mark.parametrize("wish", ["lots", -1, float("nan"), "-4GB"])
def test_no_amount_is_refused(wish: float | str) -> None:
    """With the argument's name."""
    with pytest.raises(InvalidRequest, match="memory_limit"):
        Shares.of(JOB, memory_limit=wish)
