"""Connections without a key: few, short, and told in a line; who belongs gets in beside them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, Scheduler, Worker

from core.tests.launch.conftest import Cluster, running_cluster
from corral.cluster.scheduler_host import Hosted, host
from corral.security import half_open
from corral.security.credentials import Credentials
from corral.security.half_open import of_this_loop
from corral.security.listening import guarded_worker
from corral.security.tunnel import Tunnel

CREDENTIALS = Credentials.create(cluster="ours")
SECURITY = CREDENTIALS.security()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def hosted() -> AsyncIterator[Hosted]:
    it = await host(CREDENTIALS, SECURITY, address="127.0.0.1")
    try:
        yield it
    finally:
        await it.scheduler.close()


class Strangers(contextlib.AsyncExitStack):
    """They connect, and hold what they have."""

    async def connect(self, port: int, number: int = 1, source: str = "127.0.0.1") -> list[asyncio.StreamReader]:
        found = []
        for _ in range(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            self.callback(abort, writer)
            found.append(reader)
        return found


def abort(writer: asyncio.StreamWriter) -> None:
    """Leave at once; a writer that nobody holds would have left already."""
    writer.transport.abort()


async def closed(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has closed it."""
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""


def is_open(reader: asyncio.StreamReader) -> bool:
    return not reader.at_eof() and reader.exception() is None


async def count_becomes(number: int, timeout: float = 20) -> None:
    async with asyncio.timeout(timeout):
        while len(of_this_loop()) != number:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def joins(scheduler: Scheduler) -> None:
    """A new worker and a new client get in, and compute."""
    async with (
        guarded_worker(Worker, scheduler.address, security=SECURITY),
        Client(scheduler.address, security=SECURITY, asynchronous=True) as client,
    ):
        assert await client.submit(sum, [1, 2]) == 3


# --- time -------------------------------------------------------------------------------------------------------


async def test_handshakes_that_never_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent ones, and ones that send a byte of a TLS record now and then."""
    monkeypatch.setattr(half_open, "PATIENCE", 2.0)
    async with hosted() as it, Strangers() as strangers, asyncio.timeout(30):
        silent = await strangers.connect(it.scheduler.port, 200)
        slow = socket.create_connection(("127.0.0.1", it.scheduler.port))
        strangers.callback(slow.close)
        slow.setblocking(False)
        await count_becomes(201)

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for piece in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400):
                    await asyncio.get_running_loop().sock_sendall(slow, bytes([piece]))
                    await asyncio.sleep(0.1)
                pytest.fail("nobody closed it")

        dripping = asyncio.create_task(drip())
        await joins(it.scheduler)
        for reader in silent:
            await closed(reader)
        await dripping
        assert len(of_this_loop()) == 0


async def test_a_stalled_loop_makes_nobody_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy scheduler has not looked at yet is not held against those who connect."""
    monkeypatch.setattr(half_open, "PATIENCE", 1.5)
    async with hosted() as it, Strangers() as strangers:
        [reader] = await strangers.connect(it.scheduler.port)
        await count_becomes(1)
        time.sleep(3)  # noqa: ASYNC251 - the stall
        await asyncio.sleep(0.3)
        assert is_open(reader)
        async with asyncio.timeout(20):
            await closed(reader)


# --- number -----------------------------------------------------------------------------------------------------


async def test_the_oldest_of_many_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever belongs gets in, whatever a stranger holds."""
    monkeypatch.setattr(half_open, "MOST", 20)
    async with hosted() as it, Strangers() as strangers, asyncio.timeout(60):
        readers = await strangers.connect(it.scheduler.port, 120)
        for reader in readers[:100]:
            await closed(reader)
        assert all(is_open(reader) for reader in readers[100:])
        await joins(it.scheduler)


async def test_the_host_that_has_most_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of another host that takes its time over its handshake is left alone."""
    monkeypatch.setattr(half_open, "MOST", 20)
    async with hosted() as it, Strangers() as strangers, asyncio.timeout(60):
        [patient] = await strangers.connect(it.scheduler.port)
        readers = await strangers.connect(it.scheduler.port, 100, source="127.0.0.2")
        for reader in readers[:81]:
            await closed(reader)
        assert is_open(patient)


def test_the_bound_is_a_share_of_the_descriptors() -> None:
    """Never so many that nothing else could be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
        assert half_open.limit() == 250
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_nannies_and_workers_have_bounds_too(cluster: Cluster, launcher: str) -> None:
    """Each in its own process."""
    await cluster.connect("--workers=1", f"--launcher={launcher}")
    [worker] = cluster.scheduler.workers.values()
    nanny = psutil.Process(cluster.launched[0].process.pid)
    for process, address in ((psutil.Process(worker.pid), worker.address), (nanny, worker.nanny)):
        _, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (200, hard))
        async with Strangers() as strangers, asyncio.timeout(30):
            readers = await strangers.connect(int(str(address).rpartition(":")[2]), 120)
            for reader in readers[:70]:
                await closed(reader)
            assert all(is_open(reader) for reader in readers[70:])
            async with cluster.client() as client:
                assert await client.submit(sum, [1, 2], pure=False) == 3


async def test_rooms_of_a_server_that_stops_are_empty() -> None:
    """What is half-open when a server stops ends with it."""
    async with Strangers() as strangers, asyncio.timeout(30):
        async with hosted() as it:
            readers = await strangers.connect(it.scheduler.port, 5)
            readers += await strangers.connect(it.scheduler.service_ports["dashboard"], 5)
            await count_becomes(10)
        for reader in readers:
            await closed(reader)
        assert len(of_this_loop()) == 0


# --- the log ----------------------------------------------------------------------------------------------------


async def test_a_line_tells_of_many(caplog: pytest.LogCaptureFixture) -> None:
    """How many, why and from where, instead of two lines for each."""
    async with hosted() as it, asyncio.timeout(30):
        for source in ("127.0.0.1", "127.0.0.2"):
            async with Strangers() as strangers:
                for _ in range(60):
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", it.scheduler.port, local_addr=(source, 0)
                    )
                    strangers.callback(abort, writer)
                    writer.write(b"GET / HTTP/1.1\r\n\r\n")
                    with contextlib.suppress(ConnectionError):
                        await reader.read()
        theirs = Credentials.create(cluster="theirs").security()
        with pytest.raises(OSError):
            async with Worker(it.scheduler.address, security=theirs, death_timeout=1):
                pass
        while not (lines := [record for record in caplog.records if record.name == "corral"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert len(lines) == 1
    said = lines[0].getMessage()
    assert re.search(r"1[2-9]\d connection\(s\) closed", said)
    assert "http request (120)" in said
    assert "127.0.0.2 (60)" in said
    loud = [r for r in caplog.records if r.name in {"tornado.general", "asyncio"} or "handshake failed" in r.msg]
    assert [record.getMessage() for record in loud] == []


# --- no descriptors ---------------------------------------------------------------------------------------------

EXHAUSTED = """
import asyncio, logging, os, resource, socket, sys, time
from core.tests.launch.conftest import Cluster, running_cluster
from corral.security import half_open
from corral.security.half_open import Acceptor

async def main():
    logging.basicConfig(format="%(message)s")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        acceptor = Acceptor(listening, lambda connection, address: taken.append(connection))
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass
        print(listening.getsockname()[1], flush=True)
        began = time.process_time()
        await reader.readline()
        print(time.process_time() - began < 1, len(taken), flush=True)
        for descriptor in held:
            os.close(descriptor)
        while not taken:
            await asyncio.sleep(0.01)
        print(len(taken), flush=True)
        acceptor.stop()

asyncio.run(main())
"""


def test_without_descriptors_one_is_told_and_may_try_again() -> None:
    """The event loop does not spin, the log has one line, and when there are descriptors again it goes on."""
    with (
        subprocess.Popen(
            [sys.executable, "-c", EXHAUSTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        ) as process,
        contextlib.ExitStack() as stack,
    ):  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline())
        for _ in range(3):
            connections = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(30)
            ]
            for connection in connections:
                with contextlib.suppress(ConnectionError):
                    assert connection.recv(1) == b""
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "True 0\n"
        stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert process.stdout.readline() == "1\n"
        [line] = process.stderr.read().splitlines()
    assert "Too many open files" in line


FLOODED = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
from corral import Cluster
from distributed import Client
if __name__ == "__main__":
    with Cluster(**eval(sys.argv[1])) as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1)
        print(cluster.scheduler.port, cluster.scheduler.http_server.port, flush=True)
        sys.stdin.readline()
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=60)
        with Client(cluster) as client:
            print(client.submit(sum, [1, 2]).result(), flush=True)
        sys.stdin.readline()
"""


def test_a_cluster_outlives_a_flood(tmp_path: Path) -> None:
    """With 300 descriptors and 1,200 connections: a new worker and a new client get in, and the log stays short."""
    options = {"backend": "local", "memory": "100MB", "interface": "lo", "shared_directory": str(tmp_path / "shared"),
               "backend_options": {"directory": str(tmp_path / "q")}}  # fmt: skip
    script = tmp_path / "flooded.py"
    script.write_text(FLOODED)
    with (
        subprocess.Popen(
            [sys.executable, str(script), repr(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        ) as process,
        contextlib.ExitStack() as stack,
    ):  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        ports = [int(port) for port in process.stdout.readline().split()]
        for number in range(1200):
            connection = socket.create_connection(("127.0.0.1", ports[number % 2]), timeout=20)
            stack.callback(connection.close)
        # It comes a second after the first was closed; a fast cluster would grow, compute and end before.
        told = process.stderr.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "3\n"
        process.stdin.write("\n")
        process.stdin.close()
        lines = process.stderr.read().splitlines()
    assert process.returncode == 0
    assert "too many at once" in told
    assert len(lines) <= 2, "\n".join(lines[:60])


# --- HTTP -------------------------------------------------------------------------------------------------------


def _get(port: int, path: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    connection.getresponse().read()
    return connection


async def test_the_dashboard_ends_connections_that_do_not_know_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ones that guess at once, silent ones in time; who has named it may be silent as long as he likes."""
    monkeypatch.setattr(half_open, "PATIENCE", 2.0)
    async with hosted() as it, Strangers() as strangers, asyncio.timeout(40):
        port = it.scheduler.service_ports["dashboard"]
        silent = await strangers.connect(port, 50)
        guessing = await asyncio.to_thread(_get, port, "/health")
        knowing = await asyncio.to_thread(_get, port, f"{it.credentials.dashboard_prefix}/health")
        assert guessing.sock is None
        await count_becomes(50)
        for reader in silent:
            await closed(reader)
        await count_becomes(0)
        knowing.request("GET", f"{it.credentials.dashboard_prefix}/health")
        answer = await asyncio.to_thread(knowing.getresponse)
        assert answer.read() == b"ok"
        guessing.close()
        knowing.close()


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_workers_have_no_http_server(cluster: Cluster, launcher: str) -> None:
    """All that a launcher and its workers listen on is one TLS port each."""
    launched = await cluster.connect("--workers=2", f"--launcher={launcher}")
    listening = {
        connection.laddr.port
        for process in launched.descendants() | {psutil.Process(launched.process.pid)}
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    ours = {address for worker in cluster.scheduler.workers.values() for address in (worker.address, worker.nanny)}
    assert listening == {int(str(address).rpartition(":")[2]) for address in ours}
    assert len(listening) == 4
    assert [worker.services for worker in cluster.scheduler.workers.values()] == [{}, {}]


async def test_whoever_asks_for_a_worker_s_http_server_has_one(cluster: Cluster) -> None:
    """Where it is said, or else on loopback."""
    await cluster.connect("--workers=1", '--worker-options={"dashboard_address": "127.0.0.2:0"}', job="1")
    await cluster.connect("--workers=1", '--worker-options={"dashboard": true}', job="2")
    for name, address in (("1-0", "127.0.0.2"), ("2-0", "127.0.0.1")):
        worker = cluster.scheduler.workers[cluster.scheduler.aliases[name]]
        connection = http.client.HTTPConnection(address, worker.services["dashboard"], timeout=20)
        await asyncio.to_thread(connection.request, "GET", "/health")
        assert (await asyncio.to_thread(connection.getresponse)).read() == b"ok"
        connection.close()


# --- the tunnel -------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def tunnels() -> AsyncIterator[tuple[Tunnel, Tunnel, list[asyncio.StreamWriter]]]:
    """The scheduler's and the handle's, before a server that echoes; and whom that has met."""
    met: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer)
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    accepts = SECURITY.get_listen_args("scheduler")["ssl_context"]
    connects = SECURITY.get_connection_args("client")["ssl_context"]
    theirs = await Tunnel.open(("127.0.0.1", server.sockets[0].getsockname()[1]), host="127.0.0.1", accepts=accepts)
    ours = await Tunnel.open(("127.0.0.1", theirs.port), host="127.0.0.1", connects=connects)
    try:
        yield theirs, ours, met
    finally:
        await ours.close()
        await theirs.close()
        server.close()
        await server.wait_closed()


async def test_strangers_get_no_further_than_a_tunnel_s_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither through the scheduler's nor through the handle's: nothing is opened for them, and they are ended."""
    monkeypatch.setattr(half_open, "PATIENCE", 2.0)
    monkeypatch.setattr(half_open, "MOST", 60)
    async with tunnels() as (theirs, ours, met), Strangers() as strangers, asyncio.timeout(40):
        readers = await strangers.connect(theirs.port, 50) + await strangers.connect(ours.port, 50)
        reader, writer = await asyncio.open_connection("127.0.0.1", ours.port)
        strangers.callback(abort, writer)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        for each in readers:
            await closed(each)
        assert len(met) == 1
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        assert len(of_this_loop()) == 0
