"""Tasks for clusters under test; `real_life.slurm_cluster` lets its workers import them."""

from __future__ import annotations

import os
import time
from pathlib import Path


def leave_a_mark(number: int, marks: str, seconds: float) -> int:
    """Write down that it has begun, and take a while."""
    descriptor = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)
    time.sleep(seconds)
    return number


def eat_memory() -> None:
    """More and more, until somebody ends it."""
    eaten = []
    while True:
        eaten.append(b"x" * 20_000_000)
        time.sleep(0.02)


def launcher_pid() -> int:
    """The launcher's: the worker's parent is the zygote, and that one's is the launcher."""
    status = Path(f"/proc/{os.getppid()}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def mark_begin_and_end(number: int, marks: str, seconds: float, size: int = 1) -> bytes:
    """Write down that it has begun, take a while, write down that it has finished, and return so many bytes."""
    leave_a_mark(number, f"{marks}-begun", seconds)
    leave_a_mark(number, f"{marks}-finished", 0.0)
    return bytes(size)
