"""Which CPUs each worker of a node is bound to, and that it keeps to them."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corral.errors import InvalidRequest
from corral.host.cpus import cores_of, cpus_of, even_shares, near_shares, own_cpus
from corral.host.devices import Device, near_gpus
from corral.launch.affinity import cpus_of_workers, fewer_threads
from corral.launch.bound import Bound
from corral.launch.options import Options
from corral.request.worker_group import WorkerGroup

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

#: CPUs of this machine that a test may give to a job, and one that it has not.
HERE = sorted(own_cpus())
NOT_HERE = 1023
#: By which a job says how many threads numpy may start.
NUMBERS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def threads_of_blas() -> int | None:
    """How many threads numpy's OpenBLAS has begun with; None: numpy has another library."""
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    for library in set(re.findall(r"/\S*openblas\S*", Path("/proc/self/maps").read_text())):
        for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads"):
            if count := getattr(ctypes.CDLL(library), name, None):
                return int(count())
    return None


def options(*arguments: str) -> Options:
    return Options.parse(["--credentials=x", *arguments])


class Node:
    """Files as in /sys: cores of two threads, numbered as Linux does, in several places, each with GPUs."""

    def __init__(self, root: Path, places: int, cores_of_each: int, gpus_of_each: int) -> None:
        self.root = root
        cores = places * cores_of_each
        for place in range(places):
            first = place * cores_of_each
            cpus = f"{first}-{first + cores_of_each - 1},{cores + first}-{cores + first + cores_of_each - 1}"
            self._file(f"sys/devices/system/node/node{place}/cpulist", cpus)
            for gpu in range(gpus_of_each):
                number = place * gpus_of_each + gpu
                address = f"0000:{number:02x}:00.0"
                self._file(f"sys/bus/pci/devices/{address}/local_cpulist", cpus)
                said = f"GPU UUID: GPU-{number}\nDevice Minor: {number}\n"
                self._file(f"proc/driver/nvidia/gpus/{address}/information", said)
                self._file(f"dev/nvidia{number}", "")
        for core in range(cores):
            for cpu in (core, core + cores):
                self._file(f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", f"{core},{core + cores}")

    def _file(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def bound(self, own: str, granted: int | None, *arguments: str, gpus: str = "") -> list[str] | None:
        """The CPUs of workers that have one GPU each."""
        shares = [{"nvidia": (name,)} for name in gpus] or [{}] * options(*arguments).workers
        found = cpus_of_workers(options(*arguments), cpus_of(own), granted, shares, self.root)
        return None if found is None else [",".join(map(str, sorted(cpus))) for cpus in found]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Eight cores, sixteen threads, four GPUs."""
    return Node(tmp_path, places=2, cores_of_each=4, gpus_of_each=2)


def test_workers_get_whole_cores_beside_each_other(node: Node) -> None:
    """Both threads of a core are one worker's; of the CPUs that the job has, whichever these are."""
    cores = ["--affinity=cores", "--workers=2"]
    assert node.bound("0-15", 16, *cores) == ["0,1,2,3,8,9,10,11", "4,5,6,7,12,13,14,15"]
    assert node.bound("2,3,5,13", 4, *cores) == ["2", "3,5,13"]
    assert node.bound("3,11", 2, *cores) == ["3,11", "3,11"], "more workers than cores"
    assert node.bound("0-15", 16, "--workers=2") is None


@pytest.mark.parametrize(("granted", "is_bound"), [(2, False), (None, False), (4, True), (8, True)])
def test_a_job_without_cpus_of_its_own_is_not_bound(
    node: Node, granted: int | None, is_bound: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each job of a node would choose the same of them: where there are more than was granted, none is."""
    arguments = ["--affinity=cores", "--workers=2", "--threads=1"]
    assert (node.bound("0-3,8-11", granted, *arguments) is not None) == is_bound
    assert ("the job has 2 cores, and may run on 4 of this node's" in capsys.readouterr().err) == (not is_bound)


def test_workers_are_near_their_gpus(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the order in which the GPUs are named; those whose GPUs are at one place share what is there."""
    near = ["--affinity=near-gpu", "--threads=2"]
    assert node.bound("0-15", 16, *near, "--workers=4", gpus="3201") == [
        "4,5,12,13",
        "6,7,14,15",
        "0,1,8,9",
        "2,3,10,11",
    ]
    assert node.bound("0-15", 16, *near, "--workers=1", gpus="2") == ["4,5,6,7,12,13,14,15"]
    assert capsys.readouterr().err == ""
    # The batch system gave cores at the other place.
    assert node.bound("0-3", 4, *near, "--workers=2", gpus="03") == ["0,1", "2,3"]
    assert "bound to even shares of the job's cores" in capsys.readouterr().err


def test_a_gpu_is_found_by_its_name() -> None:
    """Index among those that can be used, tile, UUID or its beginning, MIG slice; else nobody knows what is near."""
    devices = {"nvidia": [Device("x", False, "GPU-abc"), Device("y", True, "GPU-def")]}
    seen = []
    for name in ("0", "0.1", "GPU-de", "MIG-GPU-def/1/0", "1", "MIG-0000", ""):
        root = Path(__file__).parent / "no" / "such"
        seen.append(near_gpus({"nvidia": [name]}, devices, root))
    assert seen == [frozenset()] * 7


@pytest.mark.parametrize("name", ["0", "0.1", "GPU-1", "MIG-GPU-1/7/0"])
def test_what_is_near_is_known_by_any_name(node: Node, name: str) -> None:
    """Of the GPUs that this process may use the first is the second of the node."""
    (node.root / "dev/nvidia0").unlink()
    found = cpus_of_workers(options("--affinity=near-gpu"), cpus_of("0-15"), 16, [{"nvidia": (name,)}], node.root)
    assert found == [cpus_of("0-3,8-11")]


def test_shares_have_no_cpu_twice() -> None:
    """Places that overlap cannot be shared, and too few cores are none."""
    cores = [frozenset({cpu}) for cpu in range(4)]
    assert even_shares(cores, 3) == [{0}, {1}, {2, 3}]
    assert near_shares(cores, [cpus_of("0-2"), cpus_of("1-3")], 1) is None
    assert near_shares(cores, [cpus_of("0-1"), cpus_of("2-3")], 2) == [cpus_of("0-1"), cpus_of("2-3")]
    assert near_shares(cores, [cpus_of("0-1"), cpus_of("2-3")], 3) is None
    assert near_shares(cores, [cpus_of("0-3"), frozenset()], 1) is None


def test_cores_of_one_place_are_neighbours(tmp_path: Path) -> None:
    """Where the kernel says nothing every CPU is a core."""
    assert cores_of(cpus_of("0,8,1"), Node(tmp_path, 2, 4, 0).root) == [{0, 8}, {1}]
    assert cores_of(cpus_of("5,2"), tmp_path / "nothing") == [{2}, {5}]


def test_libraries_start_no_more_threads_than_there_are_cpus() -> None:
    """Fewer are left as they are, and so is what is no number."""
    environ = {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "4,2"}
    assert fewer_threads(2, environ) == {"OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"affinity": "socket"}, "'socket' is not 'none', 'cores' or 'near-gpu'"),
        ({"affinity": "near-gpu"}, "ask for some with gpus="),
    ],
)
def test_an_affinity_that_cannot_be_is_refused(arguments: dict[str, Any], words: str) -> None:
    """Before anything is submitted."""
    with pytest.raises(InvalidRequest, match=words) as caught:
        WorkerGroup(memory="1GB", **arguments).request(name="x", log_directory=None, launcher_options=[])
    assert caught.value.argument == "affinity"


def test_launchers_are_told() -> None:
    """Those of groups that say something."""
    said = WorkerGroup(memory="1GB", gpus=1, affinity="near-gpu")
    assert "--affinity=near-gpu" in said.launcher_arguments("default", said.resources, None)
    silent = WorkerGroup(memory="1GB")
    assert not [each for each in silent.launcher_arguments("default", silent.resources, None) if "affinity" in each]


@pytest.mark.skipif(len(HERE) < 2, reason="this machine has one CPU")
@pytest.mark.parametrize("launcher", ["fork", "spawn"])
async def test_workers_stay_on_their_cpus(cluster: Cluster, launcher: str) -> None:
    """All threads of theirs, now and after they were started again; BLAS starts no more than fit."""
    await cluster.connect(
        "--workers=2",
        f"--threads={len(HERE) // 2}",
        "--affinity=cores",
        f"--launcher={launcher}",
        **dict.fromkeys(NUMBERS, "99"),
    )
    expected = even_shares(cores_of(frozenset(HERE)), 2)

    def of_all_threads() -> list[set[int]]:
        return [os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")]

    async with cluster.client() as client:
        for _ in range(2):
            seen = await client.run(of_all_threads)
            for address, of_threads in seen.items():
                index = int(str(cluster.scheduler.workers[address].name).rpartition("-")[2])
                assert of_threads == [expected[index]] * len(of_threads)
            threads = await client.run(lambda: [os.environ[name] for name in NUMBERS])
            assert list(threads.values()) == [[str(len(expected[0]))] * len(NUMBERS)] * 2
            assert set((await client.run(threads_of_blas)).values()) <= {None, len(expected[0])}
            await client.restart()


@pytest.mark.skipif(not HERE, reason="this system binds no processes")
async def test_a_worker_works_where_it_cannot_be_bound(cluster: Cluster) -> None:
    """A control group may have lost the CPUs that the launcher saw; the job's log says so."""
    launched = await cluster.connect("--workers=1")

    async with cluster.client() as client:
        await client.register_plugin(Bound(frozenset({NOT_HERE})))
        assert await client.submit(lambda: sorted(os.sched_getaffinity(0))) == HERE
    assert f"worker 77_0-0 is not bound to CPUs [{NOT_HERE}]: Invalid argument" in launched.log.read_text()
