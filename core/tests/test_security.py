"""Credentials of a cluster, and who may read them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import dask.config
import pytest
from distributed import Client, Scheduler, Security, Worker
from distributed.comm.core import connect

from corral import Cluster
from corral.errors import CredentialsError
from corral.security.credentials import Credentials


def test_the_file_is_private_and_says_everything(tmp_path: Path) -> None:
    """0600 in a folder of 0700, whatever the umask; what is read is what was written."""
    credentials = Credentials.create(cluster="a", addresses=("tls://127.0.0.1:1",))
    path = tmp_path / "new" / "credentials.json"
    before = os.umask(0)
    try:
        credentials.write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Credentials.read(path) == credentials


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Also where a copy or a file system has lost the mode."""
    path = tmp_path / "credentials.json"
    Credentials.create(cluster="a").write(path)
    path.chmod(0o640)
    with pytest.raises(CredentialsError, match="others could use your cluster"):
        Credentials.read(path)


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    """Nor is a link followed that somebody else put there."""
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    target.touch()
    for path in (target, tmp_path / "link"):
        with pytest.raises(CredentialsError, match="shared_directory="):
            Credentials.create(cluster="a").write(path)
    assert target.read_text() == ""


def test_half_a_file_is_no_credentials(tmp_path: Path) -> None:
    """A network file system may show a file before its text."""
    path = tmp_path / "credentials.json"
    path.touch(mode=0o600)
    with pytest.raises(CredentialsError, match="not all of them yet"):
        Credentials.read(path)


def test_secrets_are_not_in_the_repr() -> None:
    """Reprs end up in logs."""
    assert "PRIVATE" not in repr(Credentials.create(cluster="a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_gets_nothing(tmp_path: Path) -> None:
    """Neither the file, nor even its name, for anybody but its owner."""
    tmp_path.chmod(0o755)
    path = tmp_path / "clusters" / "credentials.json"
    Credentials.create(cluster="a").write(path)
    for argv in (["cat", str(path)], ["ls", str(path.parent)]):
        done = subprocess.run(argv, user=65534, capture_output=True, text=True, check=False)
        assert (done.returncode != 0, done.stdout) == (True, "")


@pytest.mark.parametrize("draws", [True, False], ids=["with bokeh", "without"])
def test_the_dashboard_answers_only_those_who_know_its_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draws: bool
) -> None:
    """On loopback alone; without the prefix there is not even a page that says what this is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    # Bokeh's application has routes of its own: what holds without it says nothing of what holds with it.
    assert importlib.util.find_spec("bokeh") is not None
    if not draws:
        monkeypatch.setitem(sys.modules, "distributed.dashboard.scheduler", None)
    # Without, Dask appends to the list that is in its configuration.
    routes = list(dask.config.get("distributed.scheduler.http.routes"))
    with dask.config.set({"distributed.scheduler.http.routes": routes}):
        check_that_strangers_stay_outside(tmp_path, draws)


def check_that_strangers_stay_outside(tmp_path: Path, draws: bool) -> None:
    with Cluster(
        backend="local", memory="100MB", interface="lo", backend_options={"directory": str(tmp_path / "q")}
    ) as c:
        link = urlsplit(c.dashboard_link)
        assert link.hostname == "127.0.0.1"
        assert c.scheduler is not None
        [listener] = c.scheduler.http_server._sockets.values()
        assert listener.getsockname()[0] == "127.0.0.1"
        prefix = link.path.removesuffix("/status")
        assert len(prefix) > 20
        with urlopen(f"http://{link.netloc}{prefix}/health") as answer:
            assert answer.read() == b"ok"
        # Dask's pages, and corral's page of jobs.
        assert len(c.scheduler.http_application.applications) == 2 * draws
        ours = ("/jobs", "/metrics", "/corral/overview.json", "/corral/jobs.json", "/corral/series.json")
        for path in ("/health", "/status", "/json/identity.json", "/", "/nothing", *ours):
            with pytest.raises(HTTPError, match="404") as refused:
                urlopen(f"http://{link.netloc}{path}")
            # Not by a redirection either.
            assert refused.value.url == f"http://{link.netloc}{path}"
            assert prefix.strip("/") not in str(refused.value.headers)
            refused.value.close()


def test_only_those_who_belong_get_in() -> None:
    """TLS both ways: the cluster's own client computes; another cluster's, and one without, are refused."""

    async def check() -> None:
        ours = Credentials.create(cluster="ours").security()
        theirs = Credentials.create(cluster="theirs").security()
        async with (
            Scheduler(host="127.0.0.1", port=0, protocol="tls", security=ours, dashboard_address=":0") as scheduler,
            Worker(scheduler.address, security=ours, dashboard=False),
            Client(scheduler.address, security=ours, asynchronous=True) as client,
        ):
            assert await client.submit(sum, [1, 2]) == 3
            for stranger in (theirs, Security()):
                for role in ("client", "worker"):
                    with pytest.raises((OSError, TypeError, RuntimeError)):
                        await connect(scheduler.address, timeout=2, **stranger.get_connection_args(role))
            assert len(scheduler.workers) == 1

    asyncio.run(check())
