"""Results that no other worker can take are kept in files, and nothing is computed twice."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corral.host.home import PARKED
from corral.host.private import make_private_folder
from corral.launch import parked

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster, Launched

pytestmark = pytest.mark.timeout(100)

ROOM = 10_000_000


def marked(number: int, *, folder: str, size: int = 1000) -> bytes:
    """Write down that it was computed."""
    Path(folder, f"{number}-{time.time()}").touch()
    return bytes([number]) * size


def joined(parts: list[bytes], *, folder: str) -> bytes:
    Path(folder, f"99-{time.time()}").touch()
    return b"".join(parts)


def computed(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in folder.iterdir() if path.name != PARKED)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def files(cluster: Cluster) -> list[Path]:
    folder = cluster.path.parent / PARKED
    return sorted(folder.iterdir()) if folder.exists() else []


async def leave(cluster: Cluster, leaver: Launched, job: str) -> dict[str, Any]:
    """Retire the only job there is."""
    await cluster.nanny(f"{job}-0").corral_retire(reason="test", patience=1.0)
    code, _ = await leaver.end()
    assert code == 0
    return await cluster.report("left", job=job)


async def test_results_survive_a_time_without_any_worker(cluster: Cluster, marks: Path) -> None:
    """The only job leaves at once; the next one reads what it held; files go when the results are forgotten."""
    cluster.scheduler.parking.room = ROOM
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        futures = client.map(marked, range(5), folder=str(marks))
        total = client.submit(joined, futures, folder=str(marks))
        await total

        assert (await leave(cluster, leaver, "1"))["lost"] == 0
        assert not cluster.scheduler.workers
        assert len(files(cluster)) == 6
        assert {path.stat().st_mode & 0o777 for path in files(cluster)} == {0o600}
        assert files(cluster)[0].parent.stat().st_mode & 0o777 == 0o700

        await cluster.connect(job="2")
        assert await client.gather(futures) == [bytes([number]) * 1000 for number in range(5)]
        assert len(await total) == 5000
        assert computed(marks) == [0, 1, 2, 3, 4, 99]

        for future in [*futures, total]:
            future.release()
        await _until(lambda: not cluster.scheduler.parking.files)
    await _until(lambda: not files(cluster))


async def test_what_was_computed_from_released_results_needs_them_no_more(cluster: Cluster, marks: Path) -> None:
    """Reading a file is enough: what it was computed from was released, and stays so."""
    cluster.scheduler.parking.room = ROOM
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        parts = client.map(marked, range(3), folder=str(marks))
        total = client.submit(joined, parts, folder=str(marks))
        await total
        del parts
        await leave(cluster, leaver, "1")
        assert set(cluster.scheduler.tasks) == {total.key}

        await cluster.connect(job="2")
        assert len(await total) == 3000
    assert computed(marks) == [0, 1, 2, 99]


async def test_scattered_data_survives(cluster: Cluster) -> None:
    """Nobody could compute it again."""
    cluster.scheduler.parking.room = ROOM
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        future = await client.scatter({"a": 1})
        await leave(cluster, leaver, "1")
        await cluster.connect(job="2")
        assert await client.gather(future) == {"a": 1}


async def test_results_survive_twice(cluster: Cluster, marks: Path) -> None:
    """A file is written once, and serves until the result is forgotten; new results join it."""
    cluster.scheduler.parking.room = ROOM
    async with cluster.client() as client:
        leaver = await cluster.connect(job="1")
        first = client.submit(marked, 1, folder=str(marks))
        await first
        await leave(cluster, leaver, "1")
        leaver = await cluster.connect(job="2")
        second = client.submit(joined, [first], folder=str(marks))
        await second
        before = files(cluster)
        await leave(cluster, leaver, "2")
        assert len(files(cluster)) == 2
        assert before[0] in files(cluster)
        await cluster.connect(job="3")
        assert await client.gather([first, second]) == [b"\1" * 1000] * 2
    assert computed(marks) == [1, 99]


async def test_more_than_there_is_room_for_is_computed_again(cluster: Cluster, marks: Path) -> None:
    """And told; the smaller ones are kept."""
    cluster.scheduler.parking.room = 5000
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        small = client.submit(marked, 1, folder=str(marks), size=2000)
        large = client.submit(marked, 2, folder=str(marks), size=20_000)
        await client.gather([small, large])
        assert (await leave(cluster, leaver, "1"))["lost"] == 1
        await cluster.connect(job="2")
        assert [len(part) for part in await client.gather([small, large])] == [2000, 20_000]
    assert computed(marks) == [1, 2, 2]


async def test_a_result_that_cannot_be_written_is_computed_again(cluster: Cluster, marks: Path) -> None:
    """The job says which, and why."""
    cluster.scheduler.parking.room = ROOM
    (cluster.path.parent / PARKED).write_text("in the way")
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        future = client.submit(marked, 1, folder=str(marks))
        await future
        assert (await leave(cluster, leaver, "1"))["lost"] == 1
        assert "cannot be kept" in leaver.log.read_text()
        await cluster.connect(job="2")
        assert await future == b"\1" * 1000
    assert computed(marks) == [1, 1]


async def test_others_take_what_they_can(cluster: Cluster, marks: Path) -> None:
    """Files are for what nobody takes."""
    cluster.scheduler.parking.room = ROOM
    leaver = await cluster.connect(job="1")
    async with cluster.client() as client:
        future = client.submit(marked, 1, folder=str(marks))
        await future
        await cluster.connect(job="2")
        await leave(cluster, leaver, "1")
        assert await future == b"\1" * 1000
    assert files(cluster) == []
    assert computed(marks) == [1]


def test_a_planted_file_is_not_read(tmp_path: Path) -> None:
    """What is read is unpickled: a link, or a file that others may write, is refused."""
    make_private_folder(tmp_path / "cluster", {})
    path, size = parked.write(str(tmp_path / "cluster"), {"a": 1})
    assert size == os.stat(path).st_size
    assert parked.read(path) == {"a": 1}
    os.chmod(path, 0o666)
    with pytest.raises(parked.ParkedResultLost, match="rw-rw-rw-|0666|others"):
        parked.read(path)
    os.chmod(path, 0o600)
    link = Path(path).with_name(f"{'0' * 32}.result")
    link.symlink_to(path)
    with pytest.raises(parked.ParkedResultLost, match="is not a regular file"):
        parked.read(str(link))


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread removes files
            await asyncio.sleep(0.02)
