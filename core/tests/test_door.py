"""The door of the dashboard, with bokeh and all that Dask serves there: strangers learn nothing."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen

import dask.config
import pytest
from distributed import Client, Scheduler, Security
from tornado.routing import PathMatches, RuleRouter
from tornado.websocket import websocket_connect

from corral import Cluster
from corral.security import door
from corral.security.credentials import Credentials
from corral.security.door import NOT_FOUND, Door, relative, without_path
from corral.security.tunnel import Tunnel

pytestmark = pytest.mark.timeout(120)

#: What corral adds to Dask's pages.
OURS = (
    "/jobs", "/jobs/ws", "/jobs/autoload.js", "/jobs/metadata", "/corral", "/corral/", "/corral/overview.json",
    "/corral/jobs.json", "/corral/series.json", "/metrics",
)  # fmt: skip


def cluster(folder: Path, **arguments: Any) -> Cluster:
    return Cluster(
        backend="local",
        memory="300MB",
        interface="lo",
        backend_options={"directory": str(folder / "q"), "cores": 4, "memory": "8GB"},
        **arguments,
    )


@pytest.fixture(scope="module", params=["process", "job"])
def link(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster whose scheduler is here, or in a job behind a tunnel, and the address of its dashboard."""
    folder = tmp_path_factory.mktemp("door")
    options = {"memory": "600MB"} if request.param == "job" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
        with cluster(folder, scheduler=request.param, scheduler_options=options) as made:
            yield made.dashboard_link


def said(address: str, request: bytes) -> bytes:
    """All that is answered to these bytes, to the end of the connection."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as plain:
        context = ssl._create_unverified_context()
        with context.wrap_socket(plain) if parts.scheme == "https" else plain as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(2**16), b""))


def strangers_requests(address: str) -> Iterator[bytes]:
    """Every way to ask for what is there, and some for what is not, by somebody who has not been told the secret."""
    secret = urlsplit(address).path.removesuffix("/status")
    port = urlsplit(address).port
    for path in sorted({*known_paths(), *OURS}):
        yield f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
    yield f"GET /status/ws HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n{upgrade}\r\n".encode()
    for method in ("HEAD", "OPTIONS", "TRACE", "DELETE", "PATCH", "FOO"):
        yield f"{method} /status HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for method in ("POST", "PUT"):
        body = "x" * 300_000
        yield f"{method} /api/v1/retire_workers HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        yield f"{method} / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()
    wrong = f"{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}"
    encoded = "/" + "".join(f"%{ord(letter):02x}" for letter in secret[1:])
    for path in (
        wrong, f"{wrong}/status", secret[:-1], secret + "x", secret.swapcase(), f"/{secret}/status",
        f"/x{secret}/status", f"/.{secret}/status", f"/x/..{secret}/status", f"{encoded}/status",
        f"http://127.0.0.1:{port}{secret}/status",
        f"127.0.0.1:{port}", "*", "x", "/?" + secret, f"/\xe9{secret}", "/" + "x" * 200_000, "",
    ):  # fmt: skip
        yield f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    yield b"GET / HTTP/1.0\r\n\r\n"
    yield b"GET /\r\n\r\n"
    yield b"GET / HTTP/1.1\n\n"
    yield b"GET / HTTP/2.0\r\n\r\n"
    yield f"GET {secret}/status HTTP/2.0\r\n\r\n".encode()
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield b"\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n" + bytes(200)
    yield b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n"
    yield b"GET / HTTP/1.1\r\nX y\r\n: \r\nContent-Length: -1\r\nTransfer-Encoding: foo\r\n\r\n"
    yield (
        b"GET / HTTP/1.1\r\nX-Forwarded-Prefix: " + secret.encode() + b"\r\nReferer: " + address.encode() + b"\r\n\r\n"
    )


def known_paths() -> set[str]:
    """Of all handlers of Dask's scheduler and of bokeh's, as the applications have them."""

    async def find() -> set[str]:
        async with Scheduler(
            host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", security=Security()
        ) as scheduler:
            applications = [scheduler.http_application, *scheduler.http_application.applications]
            routers = [router for one in applications for router in (one.default_router, one.wildcard_router)]
            return {path for router in routers for path in paths_of(router)}

    return asyncio.run(find())


def paths_of(router: RuleRouter) -> Iterator[str]:
    for rule in router.rules:
        if isinstance(rule.matcher, PathMatches):
            # An example of what the pattern matches.
            path = re.sub(r"\(.*?\)", "1", rule.matcher.regex.pattern.removesuffix("$")).removesuffix("?")
            if path.startswith("/"):
                yield path
                yield path.rstrip("/") or "/"
        if isinstance(rule.target, RuleRouter):
            yield from paths_of(rule.target)


def test_every_stranger_gets_the_same_answer(link: str) -> None:
    """Whatever is asked for, and however: byte for byte, and nobody is kept waiting for it."""
    count = 0
    for request in strangers_requests(link):
        assert said(link, request) == NOT_FOUND, request[:300]
        count += 1
    assert count > 250
    assert b"404" in NOT_FOUND
    assert b"Server" not in NOT_FOUND


def test_all_of_it_is_there_for_those_who_know(link: str) -> None:
    """Pages, numbers for machines, pictures; with a query, and more than once by one connection."""
    parts = urlsplit(link)
    secret = parts.path.removesuffix("/status")
    assert len(secret) > 20
    with closing(HTTPConnection(parts.netloc, timeout=30)) as connection:
        for path, found in (
            ("/health", b"ok"), ("/metrics", b"dask_scheduler"), ("/json/identity.json", b"Scheduler"),
            ("/status", b"Bokeh"), ("/status?theme=x", b"Bokeh"), ("/info/main/workers.html", b"Workers"),
            ("/jobs", b"Bokeh"), ("/metrics", b"corral_workers"), ("/corral/overview.json", b'"format": 1'),
            ("/corral/jobs.json", b'"jobs": []'), ("/corral/series.json", b'"points": ['),
            ("/statics/css/base.css", b"{"), ("/static/js/bokeh.min.js", b"Bokeh"),
        ):  # fmt: skip
            assert found in get(connection, secret + path).content, path
        # The connection is known by now, and its next request is a stranger's all the same.
        connection.request("GET", "/status")
        with connection.getresponse() as answer:
            assert (answer.status, answer.getheaders()) == (404, [("Content-Length", "0"), ("Connection", "close")])


class Answer:
    def __init__(self, response: HTTPResponse) -> None:
        self.status, self.location, self.content = response.status, response.getheader("Location"), response.read()


def get(connection: HTTPConnection, path: str) -> Answer:
    connection.request("GET", path)
    return Answer(connection.getresponse())


@pytest.mark.parametrize("page", ["", "/", "?a=b", "/info"])
def test_a_redirection_stays_inside(link: str, page: str) -> None:
    """Behind a proxy that has taken off a path as well: it is relative to what was asked for."""
    secret = urlsplit(link).path.removesuffix("/status")
    with closing(HTTPConnection(urlsplit(link).netloc, timeout=30)) as connection:
        answer = get(connection, secret + page)
    assert answer.status in (301, 302)
    assert answer.location is not None
    leads_to = urljoin(f"http://hub/user/me/proxy/1234{secret}{page}", answer.location).partition("?")[0]
    target = "/info/main/workers.html" if page == "/info" else "/status"
    assert leads_to == f"http://hub/user/me/proxy/1234{secret}{target}"


async def test_websockets_open_for_those_who_know(link: str) -> None:
    """Dask's own stream of events; bokeh's is seen in a browser."""
    address = link.replace("http://", "ws://").removesuffix("/status")
    events = await websocket_connect(f"{address}/eventstream")
    events.close()
    while await events.read_message() is not None:
        pass
    with pytest.raises(Exception, match="404"):
        await websocket_connect(f"ws://{urlsplit(link).netloc}/eventstream")


async def test_who_says_nothing_is_turned_away_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """At both doors: with the same answer, and nothing has been passed on."""
    monkeypatch.setattr(door, "PATIENCE", 0.2)
    passed_on = []
    behind = await asyncio.start_server(lambda *streams: passed_on.append(streams), "127.0.0.1", 0)
    port = behind.sockets[0].getsockname()[1]
    tunnel = await Tunnel.open(("127.0.0.1", port), host="127.0.0.1", door=Door("/secret"))
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", security=Security()) as scheduler:
        Door("/secret").guard(scheduler.http_server)
        for listening in (tunnel.port, scheduler.http_server.port):
            for words in (b"", b"GET /sec", b"GET /secret/status HTTP/1.1"):
                reader, writer = await asyncio.open_connection("127.0.0.1", listening)
                writer.write(words)
                assert await reader.read() == NOT_FOUND
                writer.close()
    assert passed_on == []
    await tunnel.close()
    behind.close()


async def test_a_prefix_may_come_in_pieces() -> None:
    """Networks cut where they like."""
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", security=Security()) as scheduler:
        Door("/secret").guard(scheduler.http_server)
        reader, writer = await asyncio.open_connection("127.0.0.1", scheduler.http_server.port)
        writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /secret/health HTTP/1.0\r\nHost: x\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"\r\n\r\nok")
        writer.close()


def test_strangers_who_stay_do_not_keep_a_cluster_from_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the log tell of them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with cluster(tmp_path) as made:
        parts = urlsplit(made.dashboard_link)
        strangers = [socket.create_connection((parts.hostname, parts.port)) for _ in range(3)]
        strangers[0].sendall(b"GET / HT")
    for stranger in strangers:
        stranger.settimeout(10)
        assert stranger.recv(100) == b""
        stranger.close()


def test_a_prefix_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`http_prefix` takes the place of the secret, for a monitoring system that asks for /metrics for example."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    for number, (prefix, begins) in enumerate((("dask/ours/", "/dask/ours"), ("/", ""))):
        with cluster(tmp_path, name=f"own-{number}", scheduler_options={"http_prefix": prefix}) as made:
            assert urlsplit(made.dashboard_link).path == f"{begins}/status"
            with urlopen(made.dashboard_link.replace("/status", "/health"), timeout=30) as answer:
                assert answer.read() == b"ok"
            if begins:
                assert said(made.dashboard_link, b"GET /dask/health HTTP/1.1\r\n\r\n") == NOT_FOUND


@pytest.mark.parametrize("place", ["process", "job"])
def test_a_dashboard_with_certificates_has_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """`distributed.scheduler.dashboard.tls`: a handle's end of the tunnel cannot read it, the other can."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    credentials = Credentials.create(cluster="of-the-centre")
    assert credentials.certificate is not None
    assert credentials.key is not None
    files = {"cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
    for name, text in (("cert", credentials.certificate), ("key", credentials.key)):
        files[name].write_text(text)
    tls = {f"distributed.scheduler.dashboard.tls.{name}": str(path) for name, path in files.items()}
    options = {"memory": "600MB"} if place == "job" else None
    with dask.config.set(tls), cluster(tmp_path, scheduler=place, scheduler_options=options) as made:
        link = made.dashboard_link
        assert link.startswith("https://127.0.0.1:")
        inside = said(link, f"GET {urlsplit(link).path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        assert inside.startswith(b"HTTP/1.1 200 OK")
        for request in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST /status HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789",
            b"\n",
        ):
            assert said(link, request) == NOT_FOUND


def test_a_dashboard_for_other_hosts_has_a_link_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind Open OnDemand's /rnode: the address is the scheduler's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    with (
        dask.config.set({"distributed.dashboard.link": "/rnode/{host}/{port}/status"}),
        cluster(tmp_path, scheduler_options={"dashboard_address": "0.0.0.0:0", "host": "127.0.0.3"}) as made,
    ):
        _, rnode, host, port, secret, page = made.dashboard_link.split("/")
        assert (rnode, host, page) == ("rnode", "127.0.0.3", "status")
        with urlopen(f"http://{host}:{port}/{secret}/health", timeout=30) as answer:
            assert answer.read() == b"ok"
        assert said(f"http://{host}:{port}/", b"GET /health HTTP/1.1\r\n\r\n") == NOT_FOUND


@pytest.mark.parametrize("place", ["process", "job"])
def test_no_link_leads_to_a_dashboard_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """And everything that shows links is shown without."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    options = {"dashboard": False, **({"memory": "600MB"} if place == "job" else {})}
    with cluster(tmp_path, scheduler=place, scheduler_options=options) as made, Client(made) as client:
        assert made.dashboard_link == client.dashboard_link == ""
        assert "href" not in made._repr_html_()
        assert client._repr_html_()
    assert made.dashboard_link == ""


@pytest.mark.parametrize(
    ("location", "path", "seen"),
    [
        ("/status", "", "./b/status"),
        ("/status", "?x=/y/", "./b/status"),
        ("/status", "/", "./status"),
        ("/status", "/info", "./status"),
        ("/status", "/info/main/workers.html?x=/y", "../../status"),
        ("/", "/info", "./"),
        ("/", "/info/main", "../"),
        ("/a:b", "/", "./a:b"),
        ("status", "/info/", "status"),
        ("status", "", "./b/status"),
        ("?x", "", "?x"),
        ("//elsewhere/status", "/", "//elsewhere/status"),
        ("http://elsewhere/status", "/", "http://elsewhere/status"),
    ],
)
def test_where_a_redirection_leads(location: str, path: str, seen: str) -> None:
    """To the same page of the application, from wherever it was asked for; what leads elsewhere still does."""
    assert relative(location, "/a/b", path) == seen


def test_a_cookie_is_for_the_page_that_set_it() -> None:
    """Cookies know no ports: with the path / this one would be sent to every other server on this host."""
    assert without_path("a=b; Path=/; HttpOnly") == "a=b; HttpOnly"
    assert without_path("a=path=/x; path=/status") == "a=path=/x"


def test_the_door_opens_for_its_prefix_alone() -> None:
    """For a whole name of a path, not for what begins like it."""
    one = Door("/secret")
    assert [one.within(target) for target in ("/secret", "/secret/", "/secret?x", "/secret//x/..")] == [
        "", "/", "?x", "//x/.."
    ]  # fmt: skip
    for target in ("", "/", "/secre", "/secrets", "/secret%2fstatus", "secret/", "//secret/", "/secret#x", "/\u20ac"):
        assert one.within(target) is None
    assert Door.of("/") is None
    assert Door.with_secret().prefix != Door.with_secret().prefix
