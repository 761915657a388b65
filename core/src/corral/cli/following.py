"""A job's log while it grows: what comes is printed until the job has ended, on this host or elsewhere."""

from __future__ import annotations

import codecs
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from corral.cli.tables import say
from corral.text.printable import printable_lines

if TYPE_CHECKING:
    from corral.cli.logs import LoggedJob

#: Between two looks at the file (s): here; and on another host, where each is a process, more rarely if nothing comes.
HERE, THERE, THERE_AT_MOST = 0.5, 3.0, 15.0
#: Between two looks at what is known of the job (s).
KNOWN_AGAIN = 2.0
#: So much is read at once (bytes).
PIECE = 2**20
#: So long after its end a job's log may still come (s): some batch systems bring it, and file servers are late.
LATE = 5.0


class Writer:
    """Writes pieces of a file: unchanged for a program, and for a terminal so that they are not obeyed.

    A piece may end within a character, or between the two characters that end a line: the rest comes with the next.
    """

    def __init__(self, *, is_terminal: bool, say: Callable[[str], object]) -> None:
        self._is_terminal = is_terminal
        self._say = say
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    @classmethod
    def of_stdout(cls) -> Self:
        """What writes to standard output."""
        return cls(is_terminal=sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"), say=_print)

    def write(self, piece: bytes) -> None:
        if not self._is_terminal:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        text = self._held + self._decoder.decode(piece)
        self._held = "\r" if text.endswith("\r") else ""
        self._say(printable_lines(text.removesuffix(self._held)))

    def finish(self) -> None:
        """Write what was held back; the next piece begins anew."""
        if self._is_terminal:
            text, self._held = self._held + self._decoder.decode(b"", final=True), ""
            self._say(printable_lines(text))
        self._decoder.reset()


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Follower:
    """Prints what a job prints, until it has ended and all was printed."""

    def __init__(self, job: LoggedJob, again: Callable[[], LoggedJob | None]) -> None:
        self._job = job
        self._again = again
        self._files = job.files
        self._path = job.line.log or ""
        self._writer = Writer.of_stdout()
        self._seen = ""
        self._is_told = False

    def follow(self, lines: int | None = None) -> None:
        """Begin with so many of its last lines, or with all, and go on."""
        at_first, at_most = (THERE, THERE_AT_MOST) if self._job.via else (HERE, HERE)
        pause = at_first
        ended_at: float | None = time.monotonic() if self._job.line.has_ended else None
        looked_at = time.monotonic()
        while True:
            has_come = self._read(lines)
            lines = None if self._seen else lines
            if ended_at is not None and not has_come:
                if self._seen or time.monotonic() - ended_at > LATE:
                    self._writer.finish()
                    return
            pause = at_first if has_come else min(at_most, pause * 1.5)
            time.sleep(0.0 if has_come else pause)
            if ended_at is None and time.monotonic() - looked_at > KNOWN_AGAIN:
                looked_at = time.monotonic()
                known = self._again()
                if known is None or known.line.has_ended:
                    ended_at = time.monotonic()

    def _read(self, lines: int | None) -> bool:
        """Print what has come; False: nothing."""
        try:
            seen, piece = self._files.after(self._path, self._seen, PIECE)
            begins_anew = self._begins_anew(seen, piece)
            if lines is not None:
                piece, seen = self._end(lines, piece, seen)
        except FileNotFoundError:
            if not self._is_told and not self._seen:
                self._is_told = True
                say(f"job {self._job.line.id} ({self._job.state}) has printed nothing yet: waiting", err=True)
            return False
        if begins_anew:
            self._writer.finish()
            say(f"corral: {self._path} begins anew", err=True)
        self._seen = seen
        if piece:
            self._writer.write(piece)
        return bool(piece)

    def _end(self, lines: int, piece: bytes, seen: str) -> tuple[bytes, str]:
        """The last lines of what is there now, of which this is the first piece."""
        more = piece
        while more:
            seen, more = self._files.after(self._path, seen, PIECE)
            piece += more
        return b"".join(piece.splitlines(keepends=True)[-lines:]), seen

    def _begins_anew(self, seen: str, piece: bytes) -> bool:
        """True if the file is another one than before, or was shortened."""
        if not self._seen:
            return False
        (which, _, at), (before, _, was) = seen.rpartition(" "), self._seen.rpartition(" ")
        return which != before or int(at) != int(was) + len(piece)
