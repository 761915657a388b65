"""The database of a queue, and who may use it."""

from __future__ import annotations

import gc
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corral.local.outlook import describe
from corral.local.queue import Queue
from corral.local.request import Refused, Request


def _submit(queue: Queue, request: Request, count: int = 1, cores: int = 4) -> int:
    return queue.submit(
        request, "#!/bin/sh\n", count=count, grace=1, folder="/", environment={}, capacity=(cores, 10**9, 0)
    )


@pytest.fixture
def queue(tmp_path: Path) -> Any:
    queue = Queue(tmp_path / "queue")
    yield queue
    queue.close()


def test_a_queue_is_for_its_owner_only(queue: Queue) -> None:
    """Scripts may hold what others must not read."""
    assert queue.directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    """Whoever can write there could run jobs as its owner."""
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="has mode 0777, and must be yours alone"):
        Queue(tmp_path)


def test_a_queue_of_another_host_is_left_alone(queue: Queue) -> None:
    """On a shared file system: its processes cannot be seen from here. Without work it can change hosts."""
    array = _submit(queue, Request())
    queue.connection.execute("UPDATE capacity SET host = 'elsewhere'")
    with pytest.raises(Refused, match="belongs to host elsewhere, which still has jobs in it"):
        Queue(queue.directory)
    queue.cancel(queue.expand([str(array)]))
    Queue(queue.directory).close()
    assert queue.connection.execute("SELECT host FROM capacity").fetchone() == (os.uname().nodename,)


def test_a_refusal_leaves_no_connection_open(queue: Queue) -> None:
    """Whoever holds on to the error does not hold on to the database."""
    _submit(queue, Request())
    queue.connection.execute("UPDATE capacity SET host = 'elsewhere'")

    def is_open(connection: sqlite3.Connection) -> bool:
        with suppress(sqlite3.ProgrammingError):
            return connection.total_changes >= 0
        return False

    with pytest.raises(Refused) as told:
        Queue(queue.directory)
    connections = [each for each in gc.get_objects() if isinstance(each, sqlite3.Connection)]
    assert [each for each in connections if is_open(each)] == [queue.connection]
    assert "elsewhere" in str(told.value)


def test_a_refused_submission_changes_nothing(queue: Queue) -> None:
    """Not even the capacity that it named."""
    _submit(queue, Request(hold=True), cores=4)
    with pytest.raises(Refused):
        _submit(queue, Request(cores=3), cores=2)
    assert queue.capacity().cores == 4
    assert len(queue.keys()) == 1


def test_expected_starts_assume_whole_walltimes(queue: Queue) -> None:
    """Each job in line starts, at the latest, when enough of those before it must have ended."""
    first = _submit(queue, Request(cores=3, walltime=100))
    second = _submit(queue, Request(cores=2, walltime=50))
    third = _submit(queue, Request(cores=4, walltime=10))
    fourth = _submit(queue, Request())
    assert [str(task.key) for task in queue.start_jobs()] == [f"{first}_0"]
    rows = {row["job"]: row for row in describe(queue, queue.keys())}
    began = rows[f"{first}_0"]["started"]
    assert rows[f"{first}_0"]["ends"] == began + 100
    expected = [rows[f"{array}_0"]["expected_start"] for array in (second, third, fourth)]
    assert expected == [began + 100, began + 150, began + 160]


def test_no_start_is_expected_behind_a_job_without_walltime(queue: Queue) -> None:
    """It may run for ever."""
    _submit(queue, Request(cores=4))
    waiting = _submit(queue, Request())
    queue.start_jobs()
    [row] = describe(queue, queue.expand([str(waiting)]))
    assert (row["reason"], row["expected_start"]) == ("Resources", None)


def test_only_so_many_start_as_there_is_room_for(queue: Queue) -> None:
    """Of an array, its first elements."""
    array = _submit(queue, Request(cores=2), count=5)
    assert [str(task.key) for task in queue.start_jobs()] == [f"{array}_0", f"{array}_1"]
    assert queue.start_jobs() == []
