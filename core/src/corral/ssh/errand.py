"""What one process does for another on another host: ``python -m corral.ssh.errand``.

One errand each time, in JSON on standard input, and its answer on standard output: nothing of it is in an argument,
where others could see it. Everything is looked at here as it is for a cluster of this host: who may read a folder,
whose it is, what corral made.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from corral._version import __version__
from corral.errors import NotPrivate
from corral.host.files import HERE
from corral.host.home import Home

#: Before the answer: whatever a Python prints when it starts is not it.
MARK = "corral-errand: "


def facts() -> dict[str, Any]:
    """What is to be known of this host before anything else."""
    return {
        "version": __version__,
        "python": sys.executable,
        "uid": os.geteuid(),
        "home": str(Home.of().path),
    }


def text(path: str) -> str:
    """Everything in a file, for a wire that carries no bytes."""
    return base64.b64encode(HERE.text(path)).decode()


def end(path: str, size: int) -> str:
    """The same of its end."""
    return base64.b64encode(HERE.end(path, size)).decode()


def after(path: str, seen: str, size: int) -> tuple[str, str]:
    """The same of what has come to it."""
    known, piece = HERE.after(path, seen, size)
    return known, base64.b64encode(piece).decode()


_ERRANDS: Mapping[str, Callable[..., Any]] = {
    "facts": facts,
    "text": text,
    "end": end,
    "after": after,
    "size": HERE.size,
    "make_folder": HERE.make_folder,
    "complete_lines": HERE.complete_lines,
    "remove_own": HERE.remove_own,
    "remove_private": HERE.remove_private,
    "make": lambda home: Home(Path(home)).make(),
    "make_log_folder": lambda home, uuid, system: Home(Path(home)).make_log_folder(uuid, system),
    "write_new": lambda home, path, text: Home(Path(home)).write_new(Path(path), text),
    "read": lambda home, path: Home(Path(home)).read(Path(path)),
    "remove_credentials": lambda home, uuid: Home(Path(home)).remove_credentials(uuid),
    "remove_cluster": lambda home, uuid, keeps_logs: Home(Path(home)).remove_cluster(uuid, keeps_logs=keeps_logs),
    "remove_logs": lambda home, uuid, logs: Home(Path(home)).remove_logs(uuid, logs),
    "remove_old_logs": lambda home: Home(Path(home)).remove_old_logs(),
}


def run(errand: Mapping[str, Any]) -> dict[str, Any]:
    """Do it, and say what came of it."""
    try:
        return {"answer": _ERRANDS[errand["do"]](**errand["with"])}
    except NotPrivate as error:
        return {"not_private": [os.fspath(error.path), error.problem, error.cure]}
    except OSError as error:
        return {"os_error": [error.errno, error.strerror or str(error), error.filename and os.fspath(error.filename)]}


def raise_again(answer: Mapping[str, Any]) -> Any:
    """What the errand returned, or raised.

    Raises
    ------
    NotPrivate, OSError
    """
    if "not_private" in answer:
        path, problem, cure = answer["not_private"]
        raise NotPrivate(Path(path), problem, cure)
    if "os_error" in answer:
        raise OSError(*answer["os_error"])
    return answer["answer"]


def main() -> None:
    """The process."""
    answer = run(json.loads(sys.stdin.buffer.read()))
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
