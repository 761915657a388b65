"""What a check-up finds out by a batch system's own commands: those here are stand-ins that print what real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import checkup
import pytest
import setups
from real_jobs import real_jobs

Says = Callable[[str, str], None]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Puts a command in the way that prints this."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(setups.VARIABLE, raising=False)

    def put(command: str, text: str) -> None:
        (tmp_path / "said").mkdir(exist_ok=True)
        (tmp_path / "said" / command).write_text(text)
        (tmp_path / command).write_text(f'#!/bin/sh\ncat "{tmp_path}/said/{command}"\n')
        (tmp_path / command).chmod(0o755)

    return put


def found(backend: str, **options: object) -> dict[str, str]:
    setup = setups.of(backend)
    return dict(checkup.SPECIAL[backend](setup, setup.plugin(**options)))


OURS = (
    "MaxArraySize            = 20001\nAccountingStorageType   = accounting_storage/slurmdbd\nSlurmUser = slurm(64030)\n"
)


def test_the_slurm_of_the_tests(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    says("scontrol", OURS)
    says("sinfo", "batch\nshort\npreempt\ngpu\nmakers\n")
    assert found("slurm") == {}


def test_a_slurm_that_is_set_up_otherwise(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arrays and accounting; another one's, with other partitions."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    says("scontrol", OURS.replace("20001", "0").replace("accounting_storage/slurmdbd", "(null)"))
    says("sinfo", "batch\nshort\n")
    assert found("slurm") == {
        "arrays": "MaxArraySize is 0",
        "accounting": "there is no slurmdbd",
        "control": "only root and slurm may change it",
        "testbed": "there is no partition gpu, makers, preempt",
    }


def test_a_slurm_that_does_not_say(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks may be kept from its configuration: then it is taken for a stranger's."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("USER", "ada")
    says("scontrol", "slurm_load_ctl_conf error: Access denied\n")
    says("sinfo", "")
    assert set(found("slurm")) == {"accounting", "control", "testbed"}


def test_a_grid_engine_without_the_parallel_environment(says: Says) -> None:
    """Jobs of one core run there."""
    says("qconf", "make\nmpi\n")
    lacks = found("sge")
    assert lacks["cores"] == "there is no parallel environment 'smp': qconf -spl"
    assert {"nodes", "gpus", "testbed"} <= set(lacks)
    assert "cores" not in found("sge", parallel_environment="mpi")
    # Its name depends on the number of cores.
    assert "nodes" not in found("sge", multi_node_environment="mpi-{cores}")


def test_an_oar_without_gpus(says: Says) -> None:
    assert found("oar") == {}
    assert set(found("oar", gpu_resource=None)) == {"gpus"}


def test_a_log_is_looked_for_where_its_script_says(says: Says, tmp_path: Path) -> None:
    """Where a plugin called it otherwise, no test was run: a job that had ended well seemed to have lost its log."""
    says("qsub", "7[].node01\n")
    says("qdel", "")

    async def submitted() -> Path:
        async with real_jobs(setups.of("pbs").plugin(), tmp_path) as real:
            [job_id] = await real.submit(real.job("true"))
            return real.log(job_id)

    assert asyncio.run(submitted()) == tmp_path / "7[0].node01.log"
