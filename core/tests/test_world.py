"""What parallel launchers tell a process of its rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.allocation.rank_environment import World, find_world
from corral.allocation.rank_exchange import FileExchange
from corral.allocation.ranks import FAILURE, Roles, exit_code, refuse_small_world
from corral.errors import NoAllocation, TooFewRanks
from corral.launch.ending import Ended
from corral.security.credentials import Credentials

SLURM = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}
BATCH = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_NAMESPACE": "561709057", "PMIX_RANK": "2"}


@pytest.mark.parametrize(
    ("environ", "rank", "size", "launch"),
    [
        (SLURM, 3, 8, "slurm-77-0"),
        ({**SLURM, "SLURM_RESTART_COUNT": "1"}, 3, 8, "slurm-77-0-1"),
        (OPEN_MPI, 2, 4, "ompi-561709057"),
        ({"FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "3", "FLUX_JOB_ID": "fXYZ"}, 1, 3, "flux-fXYZ"),
        ({"PALS_RANKID": "5", "PALS_APID": "a/b"}, 5, None, "pals-a_b"),
        ({"PMIX_RANK": "1", "PMIX_NAMESPACE": "7"}, 1, None, "pmix-7"),
        ({"PMI_RANK": "0", "PMI_SIZE": "2", "PBS_JOBID": "73[0].srv"}, 0, 2, "pmi-73_0_.srv"),
        # The batch script's own variables are seen by everything that it starts.
        ({**BATCH, **OPEN_MPI}, 2, 4, "ompi-561709057"),
        ({**SLURM, "FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "3", "FLUX_JOB_ID": "f2"}, 1, 3, "flux-f2"),
    ],
    ids=["srun", "requeued", "open mpi", "flux", "pals", "pmix", "hydra", "mpiexec in slurm", "flux in slurm"],
)
def test_a_rank_is_read(environ: dict[str, str], rank: int, size: int | None, launch: str) -> None:
    """And what names the launch, which a requeue changes."""
    assert find_world(environ) == World(rank=rank, size=size, launch=launch)


@pytest.mark.parametrize("environ", [{}, BATCH], ids=["no launcher", "batch script"])
def test_a_process_without_rank_is_refused(environ: dict[str, str]) -> None:
    """A script that sbatch starts has SLURM_PROCID=0 and is alone: it must not wait for others."""
    with pytest.raises(NoAllocation, match="srun"):
        find_world(environ)


@pytest.mark.parametrize(
    ("roles", "least"),
    [
        (Roles(), 3),
        (Roles(exclusive=False), 2),
        (Roles(client=0), 2),
        (Roles(client=5), 6),
        (Roles(client=None), 2),
        (Roles(client=None, scheduler=None), 1),
    ],
)
def test_how_many_ranks_it_takes(roles: Roles, least: int) -> None:
    """One for each part, and one that works."""
    assert roles.least == least


def test_too_few_ranks_are_told_once() -> None:
    """On rank 0; the others end without a word."""
    with pytest.raises(TooFewRanks, match="at least 3"):
        refuse_small_world(World(rank=0, size=2, launch="x"), Roles())
    with pytest.raises(SystemExit) as ended:
        refuse_small_world(World(rank=1, size=2, launch="x"), Roles())
    assert ended.value.code == FAILURE
    refuse_small_world(World(rank=0, size=3, launch="x"), Roles())
    refuse_small_world(World(rank=0, size=None, launch="x"), Roles())


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (SystemExit(), 0), (SystemExit(7), 7), (SystemExit("words"), 1), (RuntimeError(), 1)],
)
def test_an_exception_has_the_code_that_python_gives_it(error: BaseException | None, code: int) -> None:
    assert exit_code(error) == code


def test_a_rank_that_failed_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others read that there is nothing to wait for."""
    exchange = FileExchange(World(rank=0, size=3, launch="x"), tmp_path)
    Credentials(cluster="failed").write(exchange.path)
    with pytest.raises(Ended, match="has failed"):
        exchange.fetch()


def test_what_a_killed_launch_left_is_replaced(tmp_path: Path) -> None:
    """Written anew, never over: no reader sees half of each."""
    exchange = FileExchange(World(rank=0, size=3, launch="x"), tmp_path)
    exchange.home.make()
    Credentials(cluster="old", addresses=("tcp://127.0.0.1:1",)).write(exchange.path)
    exchange.publish(Credentials(cluster="new"))
    assert Credentials.read(exchange.path).cluster == "new"
    exchange.close()
    assert not exchange.path.exists()
