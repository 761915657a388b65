"""A scheduler in a job of a real Slurm: it outlives its client, and belongs to its owner alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from real_life import small_jobs

from corral import Cluster
from corral.errors import SubmitRejected

pytestmark = [pytest.mark.real("slurm"), pytest.mark.timeout(240)]

ARGUMENTS = small_jobs(scheduler="job", scheduler_options={"memory": "500MB"})

CLIENT = """
import sys, time
from corral import Cluster
from distributed import Client
if __name__ == "__main__":
    c = Cluster(**eval(sys.argv[1]), name=sys.argv[2], n_workers=1)
    with Client(c) as client:
        c.wait_for_workers(timeout=90)
        client.publish_dataset(answer=client.submit(sum, [20, 22]))
        client.get_dataset("answer").result()
        print(c.scheduler_address, flush=True)
        time.sleep(600)
"""

STRANGER = """
import encodings.idna, os, ssl, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
address, *paths = sys.argv[1:]
for path in paths:
    try:
        open(path)
    except PermissionError:
        print("refused", path.rpartition("/")[2])
host, _, port = address.partition("://")[2].rpartition(":")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with socket.create_connection((host, int(port)), timeout=20) as plain:
    try:
        with context.wrap_socket(plain) as tls:
            # With TLS 1.3 a client learns only when it reads that it was not let in.
            print("let in" if tls.recv(1) else "not let in")
    except (ssl.SSLError, ConnectionError):
        print("not let in")
"""


@pytest.mark.needs("root")
@pytest.mark.usefixtures("leaves_nothing")
def test_it_outlives_its_client(slurm: Any, eventually: Callable[..., None], state_directory: Path) -> None:
    """Killed with -9, found again by name from another process, grown, ended; a stranger sees and reaches nothing."""
    name = f"far{os.getpid()}"
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, repr(ARGUMENTS), name], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        address = client.stdout.readline().strip()
        client.send_signal(signal.SIGKILL)
    assert sorted(slurm.queue(name).values()) == ["RUNNING", "RUNNING"]
    [folder] = (state_directory / "clusters").iterdir()
    seen = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, address, *map(str, sorted(folder.iterdir()))],
        check=True, capture_output=True, text=True, timeout=60, cwd="/",
    ).stdout.splitlines()  # fmt: skip
    assert seen == ["refused credentials.json", "refused order.json", "not let in"]
    with Cluster.connect(name) as cluster, Client(cluster) as again:
        assert cluster.scheduler_address == address
        assert again.get_dataset("answer").result() == 42
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=90)
        assert len(slurm.queue(name)) == 3
    assert len(slurm.queue(name)) == 3, "closing only let go"
    Cluster.connect(name).shutdown()
    assert slurm.queue(name) == {}


@pytest.mark.usefixtures("leaves_nothing")
def test_what_slurm_refuses_is_raised_on_the_client_s_side(slurm: Any) -> None:
    """The workers' jobs by the engine in its job, the scheduler's own at once."""
    options = {"memory": "500MB", "queue": ARGUMENTS.get("queue")}
    with Cluster(**{**ARGUMENTS, "name": "refused", "queue": "nosuch", "scheduler_options": options}) as cluster:
        cluster.scale(1)
        with pytest.raises(SubmitRejected, match="nosuch"):
            cluster.wait_for_workers(1, timeout=60)
    with pytest.raises(SubmitRejected, match="nosuch"):
        Cluster(**{**ARGUMENTS, "name": "refused", "scheduler_options": {**options, "queue": "nosuch"}})
    assert slurm.queue("refused") == {}
