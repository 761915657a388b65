"""Another host as a place to have a cluster's jobs submitted from: its Python, and its files."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from attrs import field, frozen

from corral._version import __version__
from corral.errors import HostUnreachable, InvalidRequest, excerpt
from corral.host.files import Files
from corral.host.home import Home
from corral.ssh.connection import Connection, at_once
from corral.ssh.errand import MARK, raise_again
from corral.ssh.wire import Answer, Setting

#: For one errand (s): a Python on a slow file system starts in a few.
_PATIENCE = 120.0
#: Where a Python with corral is looked for if nobody names one.
_USUAL = ("python3", "python")


def _words(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Elsewhere:
    """A host with a Python that has corral."""

    connection: Connection
    #: What runs errands there, and jobs if nobody names another.
    python: tuple[str, ...] = field(converter=_words)

    @property
    def via(self) -> str:
        return str(self.connection.address)

    def ask(self, what: str, **arguments: Any) -> Any:
        """Have something done there. Blocks.

        Raises
        ------
        HostUnreachable, LoginRefused
        NotPrivate, OSError
            What was raised there.
        """
        answer = _asked(self.connection, self.python, what, arguments)
        if (told := _told(answer)) is not None:
            return raise_again(told)
        raise HostUnreachable(f"{self.connection}: {_problem(self.python, answer)}")

    def home(self, shared_directory: Path | None = None) -> DistantHome:
        """Where everything of corral's is there, as `Home.of` says for this host."""
        found = self.ask("facts")
        if shared_directory is None:
            return DistantHome.at(Path(found["home"]), self)
        return DistantHome.at(shared_directory / f"corral-{found['uid']}", self)

    @property
    def variables(self) -> Mapping[str, str]:
        """Those of a login shell there."""
        return self.connection.login

    @classmethod
    def find(cls, connection: Connection, named: Iterable[Sequence[str]]) -> Self:
        """The host, with the first Python that has this very version of corral.

        Parameters
        ----------
        named
            Those that the user has named for jobs.

        Raises
        ------
        HostUnreachable, LoginRefused
        InvalidRequest
            There is none; says what each of them is.
        """
        tried: list[str] = []
        # A workstation of the centre's may see the same files.
        for words in dict.fromkeys([*map(tuple, named), (sys.executable,), *((word,) for word in _USUAL)]):
            answer = _asked(connection, words, "facts", {})
            told = _told(answer)
            if told is None:
                tried.append(_problem(words, answer))
            elif (version := told["answer"]["version"]) != __version__:
                tried.append(f"{' '.join(words)} has corral {version}")
            else:
                python = told["answer"]["python"]
                return cls(connection=connection, python=words if len(words) > 1 or not python else (python,))
        raise InvalidRequest(
            "python",
            f"{connection} has no Python with corral {__version__}, the version here, as far as is known: "
            f"{'; '.join(tried)}. Install it there, on a file system that the nodes share, and name that Python with "
            "python='/path/there/bin/python'",
        )

    def check(self, words: Sequence[str]) -> None:
        """See that a Python there, which jobs will run, has this very version of corral.

        Raises
        ------
        HostUnreachable, LoginRefused
        InvalidRequest
        """
        if tuple(words) == self.python:
            return
        answer = _asked(self.connection, words, "facts", {})
        if (told := _told(answer)) is None:
            raise InvalidRequest("python", f"on {self.connection}, {_problem(words, answer)}")
        if (version := told["answer"]["version"]) != __version__:
            raise InvalidRequest(
                "python",
                f"{' '.join(words)} on {self.connection} has corral {version}, and this Python, {sys.executable}, has "
                f"{__version__}: install the same version for both",
            )


def _asked(connection: Connection, python: Sequence[str], what: str, arguments: Mapping[str, Any]) -> Answer:
    errand = json.dumps({"do": what, "with": arguments}).encode()
    argv = (*python, "-P", "-m", "corral.ssh.errand")
    try:
        return at_once(lambda: connection.execute(argv, Setting(), errand, _PATIENCE))
    except TimeoutError:
        raise HostUnreachable(f"{connection}: {python[0]} did not answer there within {_PATIENCE:.0f} s") from None


def _told(answer: Answer) -> Mapping[str, Any] | None:
    """What an errand has written; None: it did not come to that."""
    _, marked, text = answer.stdout.decode(errors="replace").rpartition(f"\n{MARK}")
    if answer.code != 0 or not marked:
        return None
    found: Mapping[str, Any] = json.loads(text)
    return found


def _problem(python: Sequence[str], answer: Answer) -> str:
    """Why a Python did not do an errand."""
    name = " ".join(python)
    words = answer.stderr.decode(errors="replace").strip()
    if answer.code is None:
        return f"there is no {name}"
    if "No module named" in words and "corral" in words:
        return f"{name} does not have corral"
    if "nknown option: -P" in words:
        return f"{name} is older than 3.11"
    return f"{name} failed with exit code {answer.code}: {excerpt(words[-600:] or 'it printed nothing')}"


# --- files ------------------------------------------------------------------------------------------------------


class DistantFiles(Files):
    """Files of that host. Where it cannot be reached, it is as where nothing can be seen."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        self._ask = elsewhere.ask

    def text(self, path: str) -> bytes:
        return base64.b64decode(self._ask("text", path=path))

    def end(self, path: str, size: int) -> bytes:
        return base64.b64decode(self._ask("end", path=path, size=size))

    def after(self, path: str, seen: str, size: int) -> tuple[str, bytes]:
        known, piece = self._ask("after", path=path, seen=seen, size=size)
        return known, base64.b64decode(piece)

    def size(self, path: str) -> int | None:
        with suppress(OSError):
            found: int | None = self._ask("size", path=path)
            return found
        return None

    def make_folder(self, path: str) -> None:
        self._ask("make_folder", path=path)

    def complete_lines(self, folder: str, known: Mapping[str, int | None]) -> dict[str, tuple[int, str]]:
        with suppress(OSError):
            found = self._ask("complete_lines", folder=folder, known=dict(known))
            return {name: (written, line) for name, (written, line) in found.items()}
        return {}

    def remove_own(self, paths: Iterable[str]) -> None:
        with suppress(OSError):
            if paths := list(paths):
                self._ask("remove_own", paths=paths)

    def remove_private(self, paths: Iterable[str]) -> None:
        with suppress(OSError):
            if paths := list(paths):
                self._ask("remove_private", paths=paths)


class DistantHome(Home):
    """A folder of corral's own there. It is made, looked at and emptied by a Python of that host."""

    _elsewhere: Elsewhere

    @classmethod
    def at(cls, path: Path, elsewhere: Elsewhere) -> Self:
        home = cls(path)
        home._elsewhere = elsewhere
        return home

    @classmethod
    def beside(cls, credentials: str, elsewhere: Elsewhere) -> Self:
        """The one in which a cluster's credentials are, by their path.

        Raises
        ------
        ValueError
            No cluster has its credentials there.
        """
        return cls.at(Home.around(credentials).path, elsewhere)

    @property
    def files(self) -> Files:
        return DistantFiles(self._elsewhere)

    def _ask(self, what: str, **arguments: Any) -> Any:
        return self._elsewhere.ask(what, home=str(self.path), **arguments)

    def make(self) -> None:
        self._ask("make")

    def make_log_folder(self, uuid: str, system: str = "") -> None:
        self._ask("make_log_folder", uuid=uuid, system=system)

    def write_new(self, path: Path, text: str) -> None:
        self._ask("write_new", path=str(path), text=text)

    def read(self, path: Path) -> str:
        found: str = self._ask("read", path=str(path))
        return found

    def remove_credentials(self, uuid: str) -> None:
        self._ask("remove_credentials", uuid=uuid)

    def remove_cluster(self, uuid: str, *, keeps_logs: bool = False) -> None:
        self._ask("remove_cluster", uuid=uuid, keeps_logs=keeps_logs)

    def remove_logs(self, uuid: str, logs: Iterable[Any]) -> None:
        self._ask("remove_logs", uuid=uuid, logs=[str(log) for log in logs])

    def remove_old_logs(self, now: float | None = None) -> None:
        self._ask("remove_old_logs")
