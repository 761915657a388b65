"""Ranks that a real mpiexec started: dask-mpi's examples with the import changed, and what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real("mpi"), pytest.mark.timeout(180)]

#: Runs a script on so many ranks; gives the exit code and what was printed, after a failure with its complaints.
MpiExec = Callable[..., tuple[int, str]]

INITIALIZE = """
    from corral_mpi import initialize
    initialize(interface="lo")
    from distributed import Client
    client = Client()
"""
EXECUTE = """
    from corral_mpi import execute
    def names(client):
        return sorted(worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
"""


@pytest.fixture
def mpiexec(tmp_path: Path) -> MpiExec:
    script = tmp_path / "script.py"
    environment = os.environ | {
        # Open MPI refuses to run as root, and more ranks than cores, unless it is told to; loopback is enough here.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_btl_tcp_if_include": "lo",
        "OMPI_MCA_oob_tcp_if_include": "lo",
        "XDG_STATE_HOME": str(tmp_path),
    }

    def run(*parts: str, ranks: int = 4) -> tuple[int, str]:
        script.write_text("".join(textwrap.dedent(part) for part in parts))
        done = subprocess.run(
            ["mpiexec", "-n", str(ranks), sys.executable, str(script)],
            check=False, capture_output=True, text=True, timeout=120, env=environment,
        )  # fmt: skip
        # Which warnings a busy machine brings about is no part of a success.
        return done.returncode, done.stdout + done.stderr if done.returncode else done.stdout

    return run


@pytest.mark.parametrize("module", ["corral_mpi", "corral.allocation.ranks"])
def test_initialize_leaves_the_script_on_one_rank(mpiexec: MpiExec, module: str) -> None:
    """Rank 0 schedules, two ranks work; what rank 1 prints is printed once. By MPI, and by a file."""
    code, said = mpiexec(INITIALIZE.replace("corral_mpi", module), """
        client.wait_for_workers(2)
        print(client.scheduler.address[:6], sum(client.gather(client.map(lambda number: number + 1, range(10)))))
    """)  # fmt: skip
    assert (code, said.splitlines()) == (0, ["tls:// 55"])


def test_the_script_can_tell_where_the_dashboard_is(mpiexec: MpiExec) -> None:
    """By the link that Dask's own client has; nobody else is told its secret prefix."""
    code, said = mpiexec(INITIALIZE, """
        from urllib.request import urlopen
        with urlopen(client.dashboard_link, timeout=60) as page:
            print(page.status, len(page.url) > len("http://127.0.0.1:12345/status") + 20)
    """)  # fmt: skip
    assert (code, said.splitlines()) == (0, ["200 True"])


def test_a_script_that_raises_ends_all_ranks(mpiexec: MpiExec) -> None:
    """Where dask-mpi hangs."""
    code, said = mpiexec(INITIALIZE, "raise RuntimeError('of mine')\n")
    assert code == 1
    assert "RuntimeError: of mine" in said


def test_a_script_that_is_killed_ends_all_ranks(mpiexec: MpiExec) -> None:
    """Without a word to anybody."""
    code, _ = mpiexec(INITIALIZE, "import os\nos.kill(os.getpid(), 9)\n")
    assert code != 0


@pytest.mark.parametrize("ranks", [1, 2])
def test_too_few_ranks_are_one_error(mpiexec: MpiExec, ranks: int) -> None:
    """And no hang on the others."""
    code, said = mpiexec(INITIALIZE, ranks=ranks)
    assert code != 0
    assert said.count("TooFewRanks:") == 1
    assert "at least 3 are needed" in said


def test_without_exit_every_rank_returns(mpiexec: MpiExec) -> None:
    """The script says itself when it is done."""
    code, said = mpiexec("""
        from corral_mpi import initialize, send_close_signal
        from distributed import Client
        is_client = initialize(interface="lo", exit=False)
        if is_client:
            with Client() as client:
                client.wait_for_workers(2)
            send_close_signal()
        print("client" if is_client else "other")
    """)
    assert (code, sorted(said.split())) == (0, ["client", "other", "other", "other"])


def test_execute_runs_a_function(mpiexec: MpiExec) -> None:
    """All ranks go on when it has ended."""
    code, said = mpiexec(EXECUTE, """
        def compute(number, *, more):
            from distributed import Client
            with Client() as client:
                client.wait_for_workers(2)
                print(client.submit(sum, [number, more]).result(), names(client))
        execute(compute, [40], {"more": 2}, interface="lo")
        print("after")
    """)  # fmt: skip
    assert (code, sorted(said.splitlines())) == (0, ["42 [2, 3]", "after", "after", "after", "after"])


def test_execute_with_inclusive_workers(mpiexec: MpiExec) -> None:
    """The ranks of scheduler and client work too; workers can have nannies and names."""
    code, said = mpiexec(EXECUTE, """
        def compute():
            from distributed import Client
            with Client() as client:
                client.wait_for_workers(3)
                print(client.submit(sum, [40, 2]).result(), *names(client))
        execute(compute, exclusive_workers=False, client_rank=2, scheduler_rank=1, worker_name="w", interface="lo")
    """, ranks=3)  # fmt: skip
    assert (code, said.splitlines()) == (0, ["42 w-0 w-1 w-2"])


def test_nannies_do_not_run_the_script_again(mpiexec: MpiExec) -> None:
    """A nanny's new interpreter imports no script; a killed worker comes back."""
    code, said = mpiexec("""
        from corral_mpi import initialize
        initialize(interface="lo", worker_class="distributed.Nanny")
        import os, signal
        from distributed import Client
        print("here")
        client = Client()
        client.wait_for_workers(2)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        print(client.submit(sum, [40, 2]).result(timeout=60))
    """)
    assert code == 0, said
    assert said.splitlines()[:1] == ["here"]
    assert said.count("here") == 1
    assert "\n42" in said


def test_execute_ends_all_ranks_if_the_function_raises(mpiexec: MpiExec) -> None:
    """Where dask-mpi hangs."""
    code, said = mpiexec(EXECUTE, "execute(lambda: 1 / 0, interface='lo')\n")
    assert code == 1
    assert said.count("ZeroDivisionError: division by zero") == 1


def test_no_rank_can_be_a_worker(mpiexec: MpiExec) -> None:
    """The script does not wait for ever."""
    code, said = mpiexec("""
        from corral_mpi import initialize
        initialize(interface="lo", worker_class="no.such.Class")
        from distributed import Client
        Client().submit(int).result()
    """)
    assert code != 0
    assert "cannot be a worker: ModuleNotFoundError" in said


def test_the_command_serves_clients_elsewhere(mpiexec: MpiExec, tmp_path: Path) -> None:
    """By the scheduler's file and the credentials beside it; the client ends the ranks."""
    path = tmp_path / "scheduler.json"
    code, said = mpiexec(f"""
        import os, subprocess, sys, threading, time
        from mpi4py import MPI
        from corral_mpi import security
        from corral_mpi.cli import main
        def client():
            from distributed import Client
            while not (os.path.exists({str(path)!r}) and os.path.exists({str(path) + ".credentials"!r})):
                time.sleep(0.1)
            client = Client(scheduler_file={str(path)!r}, security=security({str(path)!r}))
            client.wait_for_workers(2)
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            print(*sorted(worker["name"] for worker in workers), oct(os.stat({str(path)!r} + ".credentials").st_mode))
            client.shutdown()
        if MPI.COMM_WORLD.Get_rank() == 0:
            threading.Thread(target=client).start()
        main(["--scheduler-file", {str(path)!r}, "--interface", "lo", "--worker-class", "distributed.Worker",
              "--nthreads", "1", "--name", "mine"])
    """, ranks=3)  # fmt: skip
    assert code == 0, said
    assert "mine-1 mine-2 0o100600" in said
    assert not path.with_name("scheduler.json.credentials").exists()
