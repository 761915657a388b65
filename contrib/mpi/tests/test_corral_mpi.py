"""What can be said of corral-mpi without an MPI library; tests/real has the rest."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import corral_mpi
from corral.allocation.rank_exchange import FileExchange
from corral.allocation.ranks import Credentials, Ended, World
from corral_mpi.cli import main
from corral_mpi.initializing import class_of_worker
from corral_mpi.outside import Outside

#: The arguments of dask-mpi 2026.3, in their order.
INITIALIZE = (
    "interface nthreads local_directory memory_limit nanny dashboard dashboard_address protocol worker_class "
    "worker_options comm exit"
)
EXECUTE = (
    "client_function client_args client_kwargs client_rank scheduler scheduler_rank scheduler_address scheduler_port "
    "scheduler_file interface nthreads local_directory memory_limit nanny dashboard dashboard_address protocol "
    "exclusive_workers worker_class worker_options worker_name comm"
)
COMMAND = (
    "scheduler-file scheduler-port scheduler-rank interface protocol nthreads memory-limit local-directory scheduler "
    "no-scheduler nanny no-nanny exclusive-workers inclusive-workers worker-class worker-options dashboard "
    "no-dashboard dashboard-address name"
)


def test_the_arguments_are_those_of_dask_mpi() -> None:
    """By position too."""
    assert list(inspect.signature(corral_mpi.initialize).parameters) == INITIALIZE.split()
    assert list(inspect.signature(corral_mpi.execute).parameters) == EXECUTE.split()


def test_the_options_are_those_of_dask_mpi() -> None:
    """A job script needs another name of the command, and no other change."""
    shown = CliRunner().invoke(main, ["--help"]).output
    assert [option for option in COMMAND.split() if f"--{option}" not in shown] == []


def test_importing_it_does_not_start_mpi() -> None:
    """Help, documentation and tests work where there is no MPI library."""
    code = "import sys, corral_mpi, corral_mpi.cli; print('mpi4py.MPI' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_nanny_is_a_deprecated_word() -> None:
    """dask-mpi says so too."""
    with pytest.warns(UserWarning, match="deprecated"):
        assert class_of_worker("distributed.Worker", nanny=True) == "distributed.Nanny"
    assert class_of_worker("a.B", nanny=False) == "a.B"


def test_credentials_are_beside_the_schedulers_file(tmp_path: Path) -> None:
    """For clients elsewhere, as long as the cluster runs."""
    path = str(tmp_path / "scheduler.json")
    exchange = Outside(FileExchange(World(rank=0, size=3, launch="x"), tmp_path), path)
    exchange.publish(Credentials.create(cluster="x"))
    assert corral_mpi.security(path).get_tls_config_for_role("client")["cert"]
    assert (tmp_path / "scheduler.json.credentials").stat().st_mode & 0o777 == 0o600
    exchange.close()
    with pytest.raises(FileNotFoundError):
        corral_mpi.security(path)


def test_joining_needs_to_know_what(tmp_path: Path) -> None:
    """Nothing, or a file that is none."""
    with pytest.raises(ValueError, match="scheduler_address"):
        Outside.joining(None, None)
    with pytest.raises(Ended, match="does not say where"):
        Outside.joining(None, str(tmp_path / "missing.json")).fetch()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": null}', '{"address": 4}'])
def test_a_scheduler_file_without_an_address_is_named(tmp_path: Path, text: str) -> None:
    """Whatever JSON it holds instead."""
    file = tmp_path / "scheduler.json"
    file.write_text(text)
    with pytest.raises(Ended, match=r"scheduler\.json does not say where"):
        Outside.joining(None, str(file)).fetch()
