"""What the jobs of the live laws run: it says what it sees, does what it is asked to, and ends as it is told.

It is copied into a folder that the tests and the nodes share, and needs nothing but Python. Each has a folder of its
own in there: ``hello``, then ``ask-0``, ``answer-0`` and so on. A file ``end`` beside these folders ends all of them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

#: Seconds after which it gives up waiting to be told something, and between two looks.
PATIENCE, PAUSE = 900.0, 0.05


def main(folder: str, role: str) -> None:
    """Until it is told to end, or nobody has told it anything for long."""
    own = tempfile.mkdtemp(prefix=f"{role}-", dir=folder)
    job = os.environ.get("CORRAL_JOB_ID", "")
    for stream, name in ((sys.stdout, "output"), (sys.stderr, "error")):
        stream.write(f"job {job} on standard {name}\n")
        stream.flush()
    _write(
        f"{own}/hello",
        {"environ": dict(os.environ), "argv": sys.argv[1:], "host": socket.gethostname(), "folder": os.getcwd()},
    )
    number, until = 0, time.monotonic() + PATIENCE
    while time.monotonic() < until and os.path.isdir(own) and not os.path.exists(f"{folder}/end"):
        try:
            with open(f"{own}/ask-{number}", encoding="utf-8") as file:
                asked = json.load(file)
        except FileNotFoundError:
            time.sleep(PAUSE)
            continue
        if "argv" not in asked:
            _end(asked)
        _write(f"{own}/answer-{number}", _run(asked))
        number += 1


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    """Run a command, in the environment of the job unless one is given."""
    try:
        done = subprocess.run(
            asked["argv"],
            input=asked["stdin"].encode(),
            env=asked["environ"],
            cwd=asked["cwd"],
            timeout=asked["timeout"],
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"is_late": True}
    except OSError:
        return {"is_missing": True}
    return {
        "returncode": done.returncode,
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
    }


def _end(asked: dict[str, Any]) -> None:
    if number := asked.get("signal"):
        # The job's script, of which this is a child: a batch system looks at that.
        os.kill(os.getppid(), number)
        signal.alarm(5)
        signal.pause()
    sys.exit(asked.get("exit", 0))


def _write(path: str, content: dict[str, Any]) -> None:
    """At once: whoever sees the file can read all of it."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.rename(f"{path}.new", path)


if __name__ == "__main__":
    main(*sys.argv[1:3])
