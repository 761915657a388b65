"""An sshd on loopback of the tests' own, which can die and come back; and a laptop that reaches a centre through it."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import dask.config
import psutil
import pytest
from batch_systems import SCRIPTS

from corral.request.carrying import connection
from corral.ssh.connection import Connection


def _free_port() -> int:
    """One that no connection is given by chance: it must be free when the daemon comes back, too."""
    while True:
        port = 10_000 + secrets.randbelow(7_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Sshd:
    """The daemon. What its sessions have of the environment is said when it starts."""

    def __init__(self, folder: Path, session: Mapping[str, str]) -> None:
        self.folder = folder
        #: Variables of its sessions.
        self.session = dict(session)
        # A test may take commands away from its own process.
        self._path = os.environ["PATH"]
        self.port = _free_port()

    @property
    def words(self) -> str:
        """How ssh is called."""
        return f"ssh -F {self.folder / 'ssh_config'}"

    def _run(self, script: str) -> None:
        said = " ".join(shlex.quote(f"{name}={value}") for name, value in self.session.items())
        environment = {
            "CORRAL_SSHD_TOP": str(self.folder), "CORRAL_SSHD_PORT": str(self.port), "CORRAL_SSHD_SESSION": said,
            "PATH": self._path,
        }  # fmt: skip
        subprocess.run(
            [SCRIPTS / script], check=True, capture_output=True, timeout=60, env={**os.environ, **environment}
        )

    def start(self) -> None:
        self._run("sshd-up.sh")

    def stop(self) -> None:
        self._run("sshd-down.sh")

    def die(self) -> None:
        """With all sessions, at once, as with its host; what these have started lives on."""
        pid = int((self.folder / "sshd.pid").read_text())
        daemon = psutil.Process(pid)
        for process in (daemon, *daemon.children(recursive=True)):
            # Sessions end by themselves meanwhile.
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    process.send_signal(signal.SIGKILL)
        daemon.wait(10)

    def cut(self) -> None:
        """End every connection; new ones can be made."""
        daemon = psutil.Process(int((self.folder / "sshd.pid").read_text()))
        for process in daemon.children():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def change_host_key(self) -> None:
        """Become another host at the same address."""
        self.die()
        for name in ("host", "host.pub"):
            (self.folder / name).unlink()
        self.start()

    def refuse(self) -> None:
        """Let nobody in any more."""
        (self.folder / "authorized_keys").write_text("")


@pytest.fixture
def sshd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """One whose sessions have a state directory, and a home, of their own: the centre's."""
    # Not below the test's own folder: others must be able to enter it, as sshd gives its rights up.
    folder = Path(tempfile.mkdtemp(prefix="sshd-of-tests-"))
    centre = folder / "centre"
    home = folder / "home"
    for each in (centre, home):
        each.mkdir(mode=0o700)
    session = {"XDG_STATE_HOME": str(centre), "HOME": str(home)}
    for name in ("PYTHONPATH", "SLURM_CONF"):
        if name in os.environ:
            session[name] = os.environ[name]
    daemon = Sshd(folder, session)
    daemon.start()
    with dask.config.set({"corral.ssh": daemon.words}):
        yield daemon
    for way in list(Connection._all.values()):
        way.close()
    Connection._all.clear()
    daemon.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def way(sshd: Sshd) -> Connection:
    """The connection to it."""
    found = connection("ssh://centre")
    assert found is not None
    return found
