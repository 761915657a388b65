"""Every TLS context bears with peers who leave without a word: python/cpython#148594."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import dask
import distributed.protocol.pickle as dask_pickle
import pytest
from distributed import Security
from distributed.comm.core import Comm, CommClosedError, connect, listen

from corral.cluster.scheduler_host import host
from corral.launch.contact import _tls_context
from corral.security.credentials import Credentials, secured

ROLES = ("scheduler", "worker", "client")


def contexts(security: Security) -> Iterator[ssl.SSLContext]:
    """All that distributed can have of it."""
    for role in ROLES:
        for arguments in (security.get_connection_args(role), security.get_listen_args(role)):
            yield arguments["ssl_context"]


def settings(security: Security) -> list[tuple[int, int]]:
    """What `bears` asks for, of all of them."""
    return [(int(context.options), context.num_tickets) for context in contexts(security)]


#: Before corral has seen one; some Pythons set the option themselves.
UNTOUCHED = settings(Security.temporary())


def bears(context: ssl.SSLContext) -> bool:
    tickets = context.protocol is ssl.PROTOCOL_TLS_SERVER and context.num_tickets
    return bool(context.options & ssl.OP_IGNORE_UNEXPECTED_EOF) and not tickets


class Own(Security):
    """As a centre could write it: it makes its contexts in a way of its own."""

    def get_connection_args(self, role: str) -> dict[str, Any]:
        return {**super().get_connection_args(role), "extra_conn_args": {"of": role}}


class Pair:
    """Both ends of a TLS connection; reading from the first one does not wait."""

    def __init__(self, security: Security) -> None:
        ours, theirs = socket.socketpair()
        accepts = security.get_listen_args("scheduler")["ssl_context"]
        connects = security.get_connection_args("client")["ssl_context"]
        thread = threading.Thread(target=self._accept, args=(accepts, ours))
        thread.start()
        self.theirs: ssl.SSLSocket = connects.wrap_socket(theirs)
        thread.join()
        self.ours.send(b"here")
        assert self.theirs.recv(4) == b"here"

    def _accept(self, context: ssl.SSLContext, plain: socket.socket) -> None:
        self.ours: ssl.SSLSocket = context.wrap_socket(plain, server_side=True)
        self.ours.setblocking(False)

    def leave(self) -> None:
        """Without close_notify."""
        os.close(self.theirs.detach())

    def close(self) -> None:
        for end in (self.ours, self.theirs):
            end.close()


def test_a_silent_end_spoils_no_other_connection() -> None:
    """Python 3.13 with OpenSSL 3.5 raises BrokenPipeError on the one that lives."""
    security = Credentials.create(cluster="a").security()
    dies, lives = Pair(security), Pair(security)
    dies.leave()
    for _ in range(3):
        assert dies.ours.recv(1) == b""
        with pytest.raises(ssl.SSLWantReadError):
            lives.ours.recv(1)
    lives.theirs.send(b"well")
    assert lives.ours.recv(4) == b"well"
    dies.close()
    lives.close()


KNOCK = """
import asyncio, sys
from corral.launch.contact import find_scheduler
from corral.security.credentials import Credentials

credentials = Credentials.read(sys.argv[1])
for _ in range(100):
    asyncio.run(find_scheduler(credentials, patience=60.0))
"""


def test_who_only_knocks_breaks_no_connection(tmp_path: Path) -> None:
    """Python 3.13 with OpenSSL 3.5 breaks them where a peer has gone before session tickets are sent to it."""
    credentials, security = secured(True, cluster="a")

    async def live(address: str) -> NoReturn:
        comm = await connect(address, **security.get_connection_args("client"))
        try:
            while True:
                await comm.write({"op": "identity", "reply": True})
                await comm.read()
        finally:
            comm.abort()

    async def check() -> None:
        hosted = await host(credentials, security, address="127.0.0.1", options={"dashboard": False})
        path = tmp_path / "credentials"
        hosted.credentials.write(path)
        async with hosted.scheduler as scheduler:
            knocking = [await asyncio.create_subprocess_exec(sys.executable, "-c", KNOCK, str(path)) for _ in range(4)]
            living = [asyncio.create_task(live(scheduler.address)) for _ in range(6)]
            codes = [await process.wait() for process in knocking]
            broken = [task.exception() for task in living if task.done()]
            for task in living:
                task.cancel()
            assert (codes, broken) == ([0] * 4, [])

    asyncio.run(check())


def test_half_a_message_is_no_message() -> None:
    """A connection that is cut in the middle is lost, though its end passes for an ordinary one."""

    async def check() -> None:
        security = Credentials.create(cluster="a").security()
        failures: asyncio.Queue[BaseException] = asyncio.Queue()

        async def receive(comm: Comm) -> None:
            try:
                await comm.read()
            except BaseException as error:
                await failures.put(error)

        listener = await listen("tls://127.0.0.1:0", receive, **security.get_listen_args("scheduler"))
        comm = await connect(listener.contact_address, **security.get_connection_args("client"))
        # One frame of a thousand bytes, of which a hundred come.
        await comm.stream.write(struct.pack("QQQ", 1016, 1, 1000) + 100 * b"x")
        os.close(comm.stream.socket.detach())
        assert isinstance(await failures.get(), CommClosedError)
        listener.stop()

    asyncio.run(check())


@pytest.mark.parametrize("theirs", [True, Security.temporary(), Own.temporary()], ids=["ours", "a user's", "a class"])
@pytest.mark.parametrize("by", [None, pickle, dask_pickle], ids=["made", "pickled", "as Dask pickles"])
def test_every_context_bears_with_silent_ends(theirs: bool | Security, by: Any) -> None:
    """Whoever made the certificates, in whatever process it arrives; and else all is as it was."""
    credentials, security = secured(theirs, cluster="a")
    if by is not None:
        security = by.loads(by.dumps(security))
    made = list(contexts(security))
    assert len(made) == 6
    assert all(map(bears, made))
    assert bears(_tls_context(credentials) or ssl.create_default_context())
    assert security.require_encryption is True
    if isinstance(theirs, Security):
        assert settings(theirs) == UNTOUCHED
        assert all(getattr(security, name) == getattr(theirs, name) for name in Security.__slots__)
        assert repr(security) == repr(theirs)
    if isinstance(theirs, Own):
        assert security.get_connection_args("client")["extra_conn_args"] == {"of": "client"}


def test_a_dashboard_over_https_bears_with_silent_browsers(tmp_path: Path) -> None:
    """Dask's own configuration asks for it; its connections are the scheduler's thread's, too."""
    made = Credentials.create(cluster="a")
    made.write_pem(tmp_path / "both.pem")
    tls = {f"distributed.scheduler.dashboard.tls.{name}": str(tmp_path / "both.pem") for name in ("cert", "key")}

    async def check() -> None:
        with dask.config.set(tls):
            hosted = await host(made, made.security(), address="127.0.0.1")
        async with hosted.scheduler as scheduler:
            assert bears(scheduler.http_server.ssl_options)

    asyncio.run(check())


SHOW = """
def contexts():
    "How many contexts this process has, and how many would not bear with it."
    import gc, ssl, sys, tornado.netutil
    # What libraries keep for HTTPS of their own; streams over sockets with TLS hold tornado's as well, for nothing.
    others = [value for module in [*sys.modules.values()] for value in list(vars(module).values())]
    others.append(tornado.netutil._client_ssl_defaults())
    known = {id(each) for each in others}
    found = [each for each in gc.get_objects() if isinstance(each, ssl.SSLContext) and id(each) not in known]
    tickets = [each for each in found if each.protocol is ssl.PROTOCOL_TLS_SERVER and each.num_tickets]
    return len(found), len(tickets) + sum(not each.options & ssl.OP_IGNORE_UNEXPECTED_EOF for each in found)

def show(client, here=contexts):
    from distributed import worker_client
    def nested():
        with worker_client() as client:
            client.submit(sum, [1, 2]).result()
            return contexts()
    client.wait_for_workers(2)
    # A result of one worker's is brought to the other.
    first, second = client.scheduler_info()["workers"]
    part = client.submit(bytes, 10**6, workers=[first])
    assert client.submit(len, part, workers=[second]).result() == 10**6
    found = {"worker's client": client.submit(nested).result(), "client": here()}
    found["scheduler"] = client.run_on_scheduler(contexts)
    for number, each in enumerate(client.run(contexts).values()):
        found[f"worker {number}"] = each
    [*_, found["nanny"]] = client.run(contexts, nanny=True).values()
    for name, (number, bad) in found.items():
        print(name, "has" if number else "has none", bad)
"""

CLUSTER = (
    SHOW
    + """
import http.client, sys
from urllib.parse import urlsplit
from distributed import Client, Security
from corral import Cluster

arguments, theirs = eval(sys.argv[1]), sys.argv[2] == "theirs"
if theirs:
    arguments["security"] = Security.temporary()
if __name__ == "__main__":
    with Cluster("local", memory="200MB", interface="lo", **arguments) as cluster, Client(cluster) as client:
        cluster.scale(2)
        # Through the tunnel, if there is one. urllib would make a context of its own.
        link = urlsplit(cluster.dashboard_link)
        door = http.client.HTTPConnection(link.netloc)
        door.request("GET", link.path.replace("/status", "/health"))
        assert door.getresponse().read() == b"ok"
        show(client)
"""
)

RANKS = (
    SHOW
    + """
from distributed import Client
from corral.allocation.ranks import initialize

initialize(interface="lo", worker_class="distributed.Nanny")
with Client() as client:
    show(client)
"""
)

RUN = (
    SHOW
    + """
from distributed import Client

if __name__ == "__main__":
    with Client() as client:
        show(client)
"""
)


EVERYWHERE = {"worker's client", "client", "scheduler", "worker 0", "worker 1", "nanny"}
#: Of a launcher of ranks.
WORLD = {"PMIX_SIZE": "4", "PMIX_NAMESPACE": "7"}


def started(code: str, home: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    """The program, as the last words before its own arguments say."""
    path = home / "program.py"
    # Never written over: another rank may just be reading it.
    if not path.exists():
        path.write_text(code)
    command = [sys.executable, *(str(path) if word == "PROGRAM" else word for word in words)]
    variables = {**os.environ, "XDG_STATE_HOME": str(home), "PYTHONFAULTHANDLER": "1", **environ}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(*processes: subprocess.Popen[str]) -> set[str]:
    """What they say of contexts; if one hangs, where all of them are."""
    deadline = time.monotonic() + 90
    hanging = []
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.poll() is None:
            hanging.append(process)
            process.send_signal(signal.SIGABRT)
    ends = [process.communicate() for process in processes]
    codes = [process.returncode for process in processes]
    said = "\n".join(text for end in ends for text in end)
    assert (codes, hanging) == ([0] * len(processes), []), said
    return set().union(*(output.splitlines() for output, _ in ends))


@pytest.mark.parametrize(
    ("arguments", "certificates"),
    [
        ({}, "ours"),
        ({}, "theirs"),
        ({"launcher": "spawn"}, "theirs"),
        ({"scheduler": "job", "scheduler_options": {"memory": "300MB"}}, "ours"),
    ],
    ids=["ours", "theirs", "spawned", "scheduler in a job"],
)
def test_no_process_of_a_cluster_has_another(arguments: dict[str, Any], certificates: str, tmp_path: Path) -> None:
    """Every context there is: of the client, the scheduler, the launcher with its nannies, and the workers."""
    queue = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
    process = started(CLUSTER, tmp_path, "PROGRAM", repr({**arguments, "backend_options": queue}), certificates)
    assert told(process) == {f"{name} has 0" for name in EVERYWHERE}


def test_no_process_of_batch_mode_has_another(tmp_path: Path) -> None:
    """That of the script, with its plain ``Client()``, neither."""
    words = "-m corral.cli run --backend=local --interface=lo --processes=2 --threads=1 PROGRAM"
    assert told(started(RUN, tmp_path, *words.split())) == {f"{name} has 0" for name in EVERYWHERE}


def test_no_rank_has_another(tmp_path: Path) -> None:
    """Of four that are a cluster."""
    ranks = [started(RANKS, tmp_path, "PROGRAM", **WORLD, PMIX_RANK=str(rank)) for rank in range(4)]
    assert told(*ranks) == {f"{name} has 0" for name in EVERYWHERE}
