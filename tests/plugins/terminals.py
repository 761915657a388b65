"""A real terminal for tests: programs run in it, keys are pressed, and what a person would see is read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import pyte
import pytest

#: Keys as terminals send them.
UP, DOWN, PAGE_DOWN, END, ESCAPE, CTRL_C, CTRL_Z = "\x1b[A", "\x1b[B", "\x1b[6~", "\x1b[F", "\x1b", "\x03", "\x1a"
#: Switches to the alternate screen and back; pyte knows only one.
_ALTERNATE = re.compile(rb"\x1b\[\?1049[hl]")


class Terminal:
    """A program on a terminal of its own, whose screen is known."""

    def __init__(
        self, argv: Sequence[str], *, columns: int = 80, rows: int = 24, environ: Mapping[str, str] | None = None
    ) -> None:
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        #: Everything that was written.
        self.written = b""
        self.modes = termios.tcgetattr(follower)
        environment = {**os.environ, "TERM": "xterm-256color", **(environ or {})}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "CI", "FORCE_COLOR"):
            if name not in (environ or {}):
                environment.pop(name, None)
        self.process = subprocess.Popen(
            argv,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=environment,
            start_new_session=True,
            # Its own session has this terminal: Ctrl-C reaches it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no lock is taken in it
        )
        # Kept open: the terminal outlives the program, as a person's does.
        self._follower = follower

    def press(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        while select.select([self._leader], [], [], 0.02)[0]:
            with suppress(OSError):
                piece = os.read(self._leader, 65_536)
                self.written += piece
                self._stream.feed(_ALTERNATE.sub(b"\x1b[H\x1b[2J", piece))
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def until(self, holds: str | Callable[[str], bool], seconds: float = 60.0) -> str:
        """The screen as soon as this is on it, or holds of it."""
        wanted = (lambda text: holds in text) if isinstance(holds, str) else holds
        deadline = time.monotonic() + seconds
        while not wanted(text := self.text):
            assert time.monotonic() < deadline, f"{holds!r} did not come:\n{text}"
            if self.process.poll() is not None and not wanted(self.text):
                raise AssertionError(f"it ended ({self.process.returncode}) before {holds!r} came:\n{self.text}")
        return text

    def end(self, seconds: float = 60.0) -> int:
        """Wait until the program has ended; its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended:\n{self.text}"
            _ = self.text
        _ = self.text
        return int(self.process.returncode)

    @property
    def is_sane(self) -> bool:
        """True if the terminal is as it was: its modes, its cursor, and its own screen."""
        _ = self.text
        switches = re.findall(rb"\x1b\[\?(1049|25)([hl])", self.written)
        last = dict(switches)
        return (
            termios.tcgetattr(self._follower) == self.modes
            and last.get(b"1049", b"l") == b"l"
            and last.get(b"25", b"h") == b"h"
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            # As when a window is closed; an interactive shell ignores SIGTERM.
            self.process.send_signal(signal.SIGHUP)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self._follower)
        os.close(self._leader)


#: Starts a program in a terminal.
Opens = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[Opens]:
    """Start Python, or a `program`, in terminals; what still runs at the end is ended."""
    opened: list[Terminal] = []

    def start(*argv: str, program: str = sys.executable, **how: object) -> Terminal:
        opened.append(found := Terminal((program, *argv), **how))  # type: ignore[arg-type]
        return found

    yield start
    for each in opened:
        each.close()
