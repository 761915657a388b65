"""How OpenSSH's client is called: once to make a connection that others go through, and then through that.

The connection is a process of its own that has left the terminal. It ends a minute after the last session in it, and
one session, the watch, lasts as long as this process: so nothing is left of what is killed, and nothing is asked twice.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from corral.errors import HostUnreachable, LoginRefused
from corral.ssh.address import Address
from corral.ssh.refusals import refusal
from corral.ssh.sockets import answers, socket_folder
from corral.text.logs import logger_of

logger = logger_of("corral.ssh")

#: A network that is gone is noticed within 45 s, and then the connection ends.
_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=20")
#: Whatever the user's configuration has for this host that is meant for a person's session, or asks for ports.
_PLAIN = ("-T", "-a", "-x", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no")
#: Through the connection that is there, and in no other way.
_THROUGH = ("-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR")
#: Seconds that the connection outlives this process.
_PERSISTS = 60
#: Seconds for ssh to get through, without and with a person who is asked.
_CONNECTING, _ASKING = 60.0, 300.0
#: For an answer of the connection's process (s).
_PATIENCE = 10.0


class Client:
    """OpenSSH's client for one host. Its methods block."""

    def __init__(self, address: Address, words: Sequence[str]) -> None:
        """`words`: how ssh is called."""
        self.address = address
        self._words = tuple(words)
        self._folder = socket_folder()
        self._socket = self._folder / "s"
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def through(self) -> tuple[str, ...]:
        """The beginning of a command whose last word, a line for a shell, is run over there."""
        return (*self._words, "-S", str(self._socket), *_THROUGH, *_PLAIN, *self.address.words)

    @property
    def _making(self) -> tuple[str, ...]:
        """The options that make a connection which others can go through."""
        return ("-M", "-N", "-f", "-o", f"ControlPersist={_PERSISTS}", "-o", f"ControlPath={self._socket}")

    def is_there(self) -> bool:
        """True if there is a connection, whoever made it: a person may have, in a terminal."""
        if not answers(self._socket):
            return False
        if self._watch is None or self._watch.poll() is not None:
            self._begin_watch()
        return True

    def start(self, *, may_ask: bool) -> None:
        """Make the connection.

        Parameters
        ----------
        may_ask
            ssh may ask at the terminal, if there is one.

        Raises
        ------
        HostUnreachable, LoginRefused
        """
        # Of one that has died; ssh would not replace it.
        self._socket.unlink(missing_ok=True)
        self._end_watch()
        asks = may_ask and _can_ask()
        if asks:
            logger.info("connecting to %s; ssh may ask you something", self.address.host)
        batch = () if asks else ("-o", "BatchMode=yes")
        argv = [*self._words, *_PLAIN, *_ALIVE, *batch, *self._making, *self.address.words]
        with tempfile.TemporaryFile() as said:
            # Not a pipe, which would be open as long as the connection.
            code = _run(argv, said, asks=asks)
            said.seek(0)
            words = said.read().decode(errors="replace")
        if code is None:
            raise HostUnreachable(f"no way to {self.address.host}: ssh did not get through in time. {words}".strip())
        if code != 0:
            raise self.refused(words)
        for line in filter(str.strip, words.splitlines()):
            logger.info("%s: %s", self.address.host, line)
        self._begin_watch()

    def refused(self, words: str) -> HostUnreachable | LoginRefused:
        """The error for what ssh has said."""
        return refusal(
            words,
            self.address.host,
            try_it=shlex.join([*self._words, *self.address.words]),
            log_in=shlex.join([*self._words, *self._making, *self.address.words]),
        )

    def control(self, what: str, *more: str) -> str | None:
        """Tell the connection something; what it objected, or None."""
        argv = [*self._words, "-S", str(self._socket), "-O", what, *more, *self.address.words]
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False, text=True,
                errors="replace", start_new_session=True,
            )  # fmt: skip
            return None if done.returncode == 0 else done.stderr.strip()
        return "it did not answer"

    def end(self) -> None:
        """End the connection, if there is one, and remove what is here of it."""
        if answers(self._socket):
            self.control("exit")
        self._end_watch()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin_watch(self) -> None:
        """Hold a session that lasts as long as this process."""
        self._end_watch()
        self._watch = subprocess.Popen(
            [*self.through, "exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def _end_watch(self) -> None:
        if self._watch is not None:
            assert self._watch.stdin is not None
            with suppress(OSError):
                self._watch.stdin.close()
            self._watch.kill()
            self._watch.wait()
            self._watch = None


def _run(argv: Sequence[str], said: IO[bytes], *, asks: bool) -> int | None:
    """The exit code; None if it took too long."""
    try:
        # To ask at the terminal it must be in its session; otherwise it must not be able to.
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=not asks
        )
    except OSError as error:
        raise LoginRefused(f"{argv[0]!r}, OpenSSH's client, cannot be run here: {error.strerror}") from error
    try:
        return process.wait(_ASKING if asks else _CONNECTING)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _can_ask() -> bool:
    """True if ssh can ask somebody."""
    if os.environ.get("SSH_ASKPASS"):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port of this host's loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
