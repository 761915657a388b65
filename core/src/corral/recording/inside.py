"""What the jobs run: each says what it finds inside, and waits for its end, which is near in any case.

The arguments are the backend, its options as JSON, the folder where jobs leave what they say, the seconds after
which a job ends by itself, and its exit code.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import asdict

from corral.batch.runner import Runner
from corral.environment.surroundings import looks_secret
from corral.host.gpus import GPU_VARIABLES
from corral.plugin import discovery
from corral.recording.talk import held

#: In the folder: the names of the variables where the jobs were submitted, and what ends the jobs when it appears.
NAMES, STOP = "names", "stop"
#: How often a job looks for its end (s).
_GLANCE = 0.5
#: What shells and login scripts set anywhere.
_EVERYWHERE = (
    "_", "BASH*", "CORRAL_[!L]*", "DBUS_*", "ENV", "HIST*", "LANG", "LC_*", "LD_LIBRARY_PATH", "LESS*", "LS_COLORS",
    "MAIL", "MANPATH", "MODULE*", "LMOD_*", "OLDPWD", "PATH", "PWD", "PYTHON*", "SHLVL", "SSH_*", "TERM*", "XDG_*",
    "__*", "*()", "*%%",
)  # fmt: skip
#: In the place of what looks like a secret.
HIDDEN = "hidden"


class _Read(Mapping[str, str]):
    """An environment that knows what was asked for in it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def selected(environ: Mapping[str, str], read: set[str], outside: set[str]) -> dict[str, str]:
    """What the batch system has told a job: what a backend needs, and what there was not where it was submitted.

    Parameters
    ----------
    read
        What the backend asked for: that is kept as it is.
    outside
        Names of the variables there.
    """
    enclosing = discovery.enclosing()
    found = {}
    for name, value in environ.items():
        is_told = name in read or name in GPU_VARIABLES or enclosing.match(name) is not None
        is_common = any(fnmatch.fnmatchcase(name, pattern) for pattern in _EVERYWHERE)
        if (is_told or (name not in outside and not is_common)) and "\n" not in value:
            found[name] = HIDDEN if name not in read and looks_secret(name, value) else value
    return dict(sorted(found.items()))


def report(backend: str, options: Mapping[str, Any], environ: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """What `read_allocation` finds in this job, and all that it has it from."""
    read = _Read(environ)
    said: dict[str, Any] = {"id": environ.get("CORRAL_JOB_ID", ""), "answers": [], "problem": ""}
    try:
        manager = discovery.load(backend, options=options)
        taken = asyncio.run(
            held("inside", "read_allocation", lambda: manager.hook.read_allocation(environ=read), Runner())
        )
        said["answers"] = [asdict(answer) for answer in taken.answers]
        said["problem"] = "; ".join([*taken.unanswered, *([repr(taken.error)] if taken.error else [])])
    except Exception as error:
        said["problem"] = repr(error)
    outside = set((folder / NAMES).read_text().split())
    return {**said, "environ": selected(environ, read.names, outside)}


def main(backend: str, options: str, place: str, seconds: str, code: str) -> None:
    """Say it, and wait."""
    folder, end = Path(place), time.monotonic() + float(seconds)
    said = report(backend, json.loads(options), dict(os.environ), folder)
    name = said["id"].replace("/", "_") or str(os.getpid())
    draft = folder / f"{name}.draft"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(said, file)
    draft.rename(folder / f"{name}.json")
    sys.stdout.write(f"job {said['id']} was here\n")
    sys.stdout.flush()
    while time.monotonic() < end and not (folder / STOP).exists():
        time.sleep(_GLANCE)
    sys.exit(int(code))


if __name__ == "__main__":
    main(*sys.argv[1:])
