"""The whole window of a terminal: keys that are read one by one, and pages that are drawn anew.

The terminal is put in order on every way out: at the end, by an error, by Ctrl-C and by a signal that ends the program;
and while Ctrl-Z has it sleep. What is written to stderr meanwhile would be drawn over the page: it is kept, and
written when the terminal is in order again.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import IO, Any, NoReturn, Self

from corral.view.lines import Line

#: What terminals send for keys that have no character.
_KEYS = {
    "[A": "up", "[B": "down", "OA": "up", "OB": "down", "[5~": "page up", "[6~": "page down", "[H": "home",
    "[F": "end", "OH": "home", "OF": "end", "[1~": "home", "[4~": "end", "[7~": "home", "[8~": "end",
}  # fmt: skip
_CHARACTERS = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x04": "q"}
#: How long after an escape the rest of what a key sends may take (s), over a slow connection too.
_REST = 0.05
_END = (signal.SIGTERM, signal.SIGHUP)


class Display:
    """A terminal that shows one page at a time."""

    def __init__(self) -> None:
        from rich.console import Console

        self._input = sys.stdin.fileno()
        self._console = Console(highlight=False, emoji=False)
        self._before: dict[int, Any] = {}
        self._modes: list[Any] = []
        self._wakes: tuple[int, int] = (-1, -1)
        self._pending = ""
        self._aside: IO[bytes] | None = None
        self._stderr = -1

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        try:
            found = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def __enter__(self) -> Self:
        self._modes = termios.tcgetattr(self._input)
        self._wakes = os.pipe()
        for end in self._wakes:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakes[1], warn_on_full_buffer=False)
        handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
            **dict.fromkeys(_END, _leave),
            signal.SIGTSTP: lambda *_: self._sleep(),
            signal.SIGWINCH: lambda *_: None,
        }
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._set_aside()
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever comes now, also a second Ctrl-C, comes after the terminal is in order.
        self._give_back()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for end in self._wakes:
            os.close(end)
        self._bring_back()

    def draw(self, lines: Sequence[Line]) -> None:
        """Show a page, from the first row on."""
        width, height = self.size
        with self._console.capture() as captured:
            for at, line in enumerate(lines[:height]):
                self._console.out("\n" if at else "", end="")
                self._console.print(line.cut(width).rich(), end="", crop=False, width=width + 1)
        rows = captured.get().split("\n")
        # Each row is emptied before it is written: afterwards, that would take the last character of a full one.
        self._write("\x1b[H" + "\r\n".join(f"\x1b[2K{row}" for row in rows) + ("\x1b[J" if len(rows) < height else ""))

    def key(self, timeout: float) -> str:
        """The next key by name or character; empty: none came, or the window has another size."""
        if not self._pending:
            ready, _, _ = select.select([self._input, self._wakes[0]], [], [], timeout)
            if self._wakes[0] in ready:
                with suppress(BlockingIOError):
                    os.read(self._wakes[0], 1024)
            if self._input not in ready:
                return ""
            self._read()
        return self._next()

    def _read(self) -> None:
        piece = os.read(self._input, 1024)
        # A terminal that is gone, without anybody having been told.
        self._pending += piece.decode(errors="replace") if piece else "q"

    def _next(self) -> str:
        if self._pending[0] != "\x1b":
            character, self._pending = self._pending[0], self._pending[1:]
            return _CHARACTERS.get(character, character)
        if len(self._pending) < 3 and select.select([self._input], [], [], _REST)[0]:
            self._read()
        for rest, name in _KEYS.items():
            if self._pending.startswith(rest, 1):
                self._pending = self._pending[1 + len(rest) :]
                return name
        # Escape by itself, or a key that means nothing here: all that it has sent is dropped.
        is_alone = len(self._pending) == 1
        self._pending = ""
        return "escape" if is_alone else ""

    # --- the terminal's state -----------------------------------------------------------------------------------

    def _take(self) -> None:
        # Characters at once and unseen; Ctrl-C and Ctrl-Z stay signals.
        tty.setcbreak(self._input, termios.TCSANOW)
        self._write("\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H")

    def _give_back(self) -> None:
        self._write("\x1b[?25h\x1b[?1049l")
        with suppress(termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._modes)

    def _sleep(self) -> None:
        """Sleep as Ctrl-Z says, with the terminal in order; go on when somebody says `fg`."""
        self._give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self._take()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stdout.write(text)
            sys.stdout.flush()

    def _set_aside(self) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.flush()
            self._aside = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed where the terminal is given back
            self._stderr = os.dup(2)
            os.dup2(self._aside.fileno(), 2)

    def _bring_back(self) -> None:
        if self._aside is not None:
            sys.stderr.flush()
            os.dup2(self._stderr, 2)
            os.close(self._stderr)
            self._aside.seek(0)
            with self._aside as aside, suppress(OSError):
                os.write(2, aside.read())
            self._aside = None


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def can_draw() -> bool:
    """True if somebody sits at a terminal that can be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
