"""Commands and files over a real sshd on loopback, which dies and comes back."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sshd import Sshd

from corral import Cluster
from corral.batch.runner import Runner
from corral.errors import (
    CommandFailed,
    CommandNotFound,
    CommandTimedOut,
    HostUnreachable,
    LoginRefused,
    UnknownBackend,
)
from corral.plugin.values import Command, Completed
from corral.request.carrying import connection
from corral.ssh import connection as connections
from corral.ssh.address import Address
from corral.ssh.connection import Connection

pytestmark = [pytest.mark.real("sshd"), pytest.mark.timeout(120)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(connections, "_PAUSES", (0.0,))


def run(way: Connection, command: Command, *, timeout: float = 30.0) -> Completed:
    return asyncio.run(Runner(timeout=timeout, via=way).run(command))


def shell(text: str) -> Command:
    return Command(["sh", "-c", text])


# --- commands ---------------------------------------------------------------------------------------------------


def test_a_command_there_is_like_one_here(way: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input, output, folder, variables; of this host's own variables it sees none."""
    monkeypatch.setenv("ONLY_HERE", "1")
    script = 'cat; pwd; echo "$A|$ONLY_HERE|$LC_ALL"; echo wrong >&2; exit 4'
    command = Command(["sh", "-c", script], stdin="a\nb\n", env={"A": "it's"}, cwd="/usr")
    with pytest.raises(CommandFailed) as error:
        run(way, command)
    completed = error.value.completed
    assert (completed.stdout, completed.stderr) == ("a\nb\n/usr\nit's||C\n", "wrong\n")
    assert completed.returncode == 4


def test_255_is_an_exit_code_too(way: Connection) -> None:
    """Of ssh's own, which means that there is no connection, it is told apart."""
    with pytest.raises(CommandFailed, match="exit code 255"):
        run(way, shell("exit 255"))


def test_what_is_not_there_is_told_with_the_host(way: Connection) -> None:
    """And where it was looked for, and what helps."""
    with pytest.raises(CommandNotFound, match=r"no 'no-such-sbatch' on centre.*PATH is .*/usr/bin.*profile"):
        run(way, Command(["no-such-sbatch"]))


def test_a_hanging_command_is_ended_there_with_what_it_started(way: Connection, tmp_path: Path) -> None:
    """On a login node nothing may pile up."""
    pids = tmp_path / "pids"
    with pytest.raises(CommandTimedOut, match=r"no answer within 2 s"):
        run(way, shell(f"sleep 100 & echo $! $$ > {pids}; wait"), timeout=2)
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(psutil.NoSuchProcess):
            psutil.Process(pid).wait(5)
            psutil.Process(pid)


def test_login_shells_that_print_disturb_nothing(sshd: Sshd, way: Connection) -> None:
    """Before a command's own output, or in place of a line's end."""
    home = Path(sshd.session["HOME"])
    (home / ".bashrc").write_text("echo Welcome; printf 'You have mail'; echo motd >&2\n")
    assert run(way, shell("echo 77; echo warning >&2")).stdout == "77\n"
    assert run(way, shell("echo 77; echo warning >&2")).stderr == "warning\n"


def test_commands_are_found_where_a_login_shell_finds_them(sshd: Sshd) -> None:
    """Sites set PATH, and how to reach the server, in files that only login shells read."""
    home = Path(sshd.session["HOME"])
    (home / "slurm").mkdir()
    program = home / "slurm" / "corral-test-sbatch"
    program.write_text('#!/bin/sh\necho "$SGE_ROOT"\n')
    program.chmod(0o700)
    (home / ".bash_profile").write_text("echo Welcome; export PATH=$PATH:~/slurm SGE_ROOT=/sge/root TOKEN=s\n")
    way = connection("ssh://centre")
    assert way is not None
    assert run(way, Command(["corral-test-sbatch"])).stdout == "/sge/root\n"
    assert "TOKEN" not in way.variables


def test_a_login_shell_that_does_not_end_is_not_waited_for_long(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and commands work."""
    monkeypatch.setattr(connections, "_LOGIN", 2.0)
    (Path(sshd.session["HOME"]) / ".bash_profile").write_text("sleep 600\n")
    way = connection("ssh://centre")
    assert way is not None
    assert run(way, shell("echo 77")).stdout == "77\n"
    assert "login shell there does not end" in caplog.text


def test_many_at_once_share_one_connection(way: Connection, sshd: Sshd) -> None:
    """More than sshd allows sessions: the rest wait."""

    async def all_of_them() -> list[str]:
        runner = Runner(via=way)
        done = await asyncio.gather(*(runner.run(shell(f"sleep 0.2; echo {number}")) for number in range(20)))
        return [each.stdout for each in done]

    assert asyncio.run(all_of_them()) == [f"{number}\n" for number in range(20)]
    accepted = (sshd.folder / "sshd.log").read_text().count("Accepted publickey")
    assert accepted == 1


def test_a_host_without_a_batch_system_is_told(sshd: Sshd, tmp_path: Path) -> None:
    """This host's own queue is never used in its place."""
    for name in ("sh", "env", "sed", "sleep", "cat"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    (Path(sshd.session["HOME"]) / ".bash_profile").write_text("PATH=/nowhere\n")
    sshd.die()
    sshd.session["PATH"] = str(tmp_path)
    sshd.start()
    with pytest.raises(UnknownBackend, match=r"no batch system answers on centre.*corral backends --via"):
        Cluster(via="ssh://centre", cores=1, memory="1GB")


# --- when it dies -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_was_cut_is_made_again(way: Connection, sshd: Sshd) -> None:
    """Nobody notices; what never began is simply begun."""
    assert run(way, shell("echo 1")).stdout == "1\n"
    sshd.cut()
    assert run(way, shell("echo 2")).stdout == "2\n"


@pytest.mark.usefixtures("impatient")
def test_what_was_cut_while_it_ran_is_in_doubt(way: Connection, sshd: Sshd, tmp_path: Path) -> None:
    """It may have been done: it is not begun again, and not taken for refused."""
    begun = tmp_path / "begun"

    async def cut() -> None:
        task = asyncio.create_task(Runner(via=way).run(shell(f"echo once >> {begun}; sleep 5; echo done")))
        while not begun.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
        await asyncio.to_thread(sshd.cut)
        await task

    with pytest.raises(HostUnreachable, match=r"connection to centre was lost while 'sh' ran there.*may still happen"):
        asyncio.run(cut())
    assert begun.read_text() == "once\n"


def test_a_host_that_is_away_is_told_and_found_again(
    way: Connection, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With ssh's words. It is not knocked at all the time."""
    monkeypatch.setattr(connections, "_PAUSES", (600.0,))
    sshd.die()
    for _ in range(2):
        with pytest.raises(HostUnreachable, match=r"no way to centre: .*refused.*Jobs there are not affected"):
            run(way, shell("echo 1"))
    sshd.start()
    with pytest.raises(HostUnreachable):
        run(way, shell("echo 1"))
    way._failure = None
    assert run(way, shell("echo 1")).stdout == "1\n"
    assert "centre can be reached again" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_another_host_key_is_refused_with_the_cure(way: Connection, sshd: Sshd) -> None:
    """It may be somebody who listens."""
    sshd.change_host_key()
    with pytest.raises(LoginRefused, match=r"(?s)HAS CHANGED.*ask your centre.*ssh-keygen -R"):
        run(way, shell("echo 1"))


@pytest.mark.usefixtures("impatient")
def test_a_key_that_is_no_longer_let_in(way: Connection, sshd: Sshd) -> None:
    """The cure says how a person lets corral in; once that is done, it goes on through the person's connection."""
    sshd.refuse()
    sshd.cut()
    with pytest.raises(LoginRefused, match=r"Permission denied.*ssh-add.*log in with `ssh .*ControlPath") as error:
        run(way, shell("echo 1"))
    (sshd.folder / "authorized_keys").write_bytes((sshd.folder / "user.pub").read_bytes())
    log_in = str(error.value).partition("log in with `")[2].partition("`")[0]
    subprocess.run(["sh", "-c", log_in], check=True, timeout=30)
    before = (sshd.folder / "sshd.log").read_text().count("Accepted")
    assert run(way, shell("echo 1")).stdout == "1\n"
    assert (sshd.folder / "sshd.log").read_text().count("Accepted") == before


def test_a_host_that_has_no_name() -> None:
    """And an ssh that is not there."""
    with pytest.raises(HostUnreachable, match=r"nosuch\.invalid.*name right"):
        connection("ssh://nosuch.invalid")
    with pytest.raises(LoginRefused, match=r"no-such-ssh.*cannot be run here"):
        Connection.to(Address("centre"), ["no-such-ssh"]).open()


# --- its end ----------------------------------------------------------------------------------------------------


def test_it_ends_with_its_last_user(way: Connection, sshd: Sshd, eventually: Callable[..., None]) -> None:
    """The socket's folder is private while it is there."""
    way.use("one")
    way.use("two")
    client = way._client
    assert client is not None
    assert stat.S_IMODE(client._folder.stat().st_mode) == 0o700
    assert client._socket.exists()
    way.let_go("one")
    assert client._socket.exists()
    way.let_go("two")
    eventually(lambda: not client._folder.exists())
    assert run(way, shell("echo 1")).stdout == "1\n", "it can be made again"


KILLED = """
import os, signal, sys
from corral.ssh import client
client._PERSISTS = 1
from corral.request.carrying import connection
way = connection("ssh://centre")
print(way._client._socket, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_does_not_outlive_a_killed_process_for_long(sshd: Sshd, eventually: Callable[..., None]) -> None:
    """Nothing tells it but the end of a session; what it left here, the next one removes."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED], check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "DASK_CORRAL__SSH": sshd.words},
    )  # fmt: skip
    path = Path(done.stdout.strip())

    def is_gone() -> bool:
        with socket.socket(socket.AF_UNIX) as knocking:
            return knocking.connect_ex(str(path)) != 0

    eventually(is_gone)
    connection("ssh://centre")
    assert not path.parent.exists()


# --- a person ---------------------------------------------------------------------------------------------------

ASKED = """
from corral.request.carrying import connection
print("there", connection("ssh://centre"), flush=True)
"""


def test_ssh_may_ask_at_the_terminal_when_a_cluster_is_made(sshd: Sshd) -> None:
    """Here, whether the host's key is right; a password or a second factor are asked for in the same way."""
    (sshd.folder / "known_hosts").write_text("")
    path = sshd.folder / "ssh_config"
    path.write_text(path.read_text().replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask"))
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.execve(sys.executable, [sys.executable, "-c", ASKED], {**os.environ, "DASK_CORRAL__SSH": sshd.words})
    said = b""
    try:
        while b"(yes/no" not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, b"yes\n")
        while b"there centre" not in said:
            said += os.read(terminal, 1024)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_without_a_terminal_nobody_is_asked(sshd: Sshd) -> None:
    """A notebook, a cron job: the error says what to do."""
    (sshd.folder / "known_hosts").write_text("")
    with pytest.raises(LoginRefused, match=r"Host key verification failed.*accepted.*`ssh -F"):
        Connection.to(Address("centre"), sshd.words.split()).open()


# --- ports ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_port_leads_there_also_after_the_connection_was_lost(way: Connection, sshd: Sshd) -> None:
    """On this host's loopback, and always the same: a client comes back to the address that it has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        local = way.forward("127.0.0.1", port)
        assert way.forward("127.0.0.1", port) == local
        assert way.behind(local) == ("127.0.0.1", port)
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", local), timeout=10) as ours:
                theirs, _address = server.accept()
                with theirs:
                    ours.sendall(b"hello")
                    assert theirs.recv(5) == b"hello"
            sshd.cut()
            run(way, shell("true"))
