"""Whose GPUs a node has, what its job is told of them, and what each worker then finds in its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from corral.host.cpus import cpus_of
from corral.host.devices import Device, devices_by_maker, local_cpus
from corral.host.gpus import Gpus, usable_gpus, variables_for, visible_gpus
from corral.host.machine import gpu_variables, own_gpus
from corral.launch.options import Options
from corral.launch.place import gpus_of_node
from corral.plugin.values import Allocation, JobId

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

CUDA, ROCR, HIP, ORDINAL, ZE = (
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK",
)  # fmt: skip

#: As Slurm sets them where gres.conf says nothing of makers and a job has the last two of four GPUs.
BY_SLURM = {CUDA: "2,3", ROCR: "2,3", ZE: "2,3", ORDINAL: "2,3"}


def seen_by_hip(environ: Mapping[str, str], node: Sequence[str] = "0123") -> list[str]:
    """The GPUs that a HIP program gets: https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html."""
    left = [*node]
    inner = next((environ[name] for name in (HIP, CUDA) if name in environ), None)
    for value in (environ.get(ROCR), inner):
        if value is not None:
            chosen = []
            for name in value.split(","):
                if not (name.isdecimal() and int(name) < len(left)):
                    break  # as with CUDA, what follows a wrong one is not seen either
                chosen.append(left[int(name)])
            left = chosen
    return left


def worker(environ: Mapping[str, str], *makers: str, count: int = 2) -> dict[str, str]:
    """The environment of a node's only worker, on a node with four GPUs of each of these makers."""
    present = {maker: [True] * 4 for maker in makers}
    return {**environ, **variables_for(usable_gpus(visible_gpus(environ), count, present), environ)}


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({CUDA: "1"}, ["1"]),
        ({ROCR: "1"}, ["1"]),
        ({ROCR: "1", CUDA: "0"}, ["1"]),
        ({ROCR: "1", CUDA: "1"}, []),
    ],
)
def test_what_hip_sees_was_seen_on_frontier(environ: dict[str, str], seen: list[str]) -> None:
    """Parsl/parsl#3858 has the four answers of a real node: these tests' own rule gives the same."""
    assert seen_by_hip(environ) == seen


def test_hip_finds_the_gpus_that_slurm_would_hide_from_it() -> None:
    """With the same list in both variables HIP has no GPU at all; in a worker it has the job's."""
    assert seen_by_hip(BY_SLURM) == []
    on_amd = worker(BY_SLURM, "amd")
    assert seen_by_hip(on_amd) == ["2", "3"]
    assert (on_amd[ROCR], on_amd[CUDA], on_amd[HIP], on_amd[ORDINAL]) == ("2,3", "0,1", "0,1", "0,1")
    # Of pretended devices nobody knows the maker: each finds its own.
    unknown = worker(BY_SLURM)
    assert (unknown[CUDA], unknown[ZE], seen_by_hip(unknown)) == ("2,3", "2,3", ["2", "3"])


@pytest.mark.parametrize(
    ("environ", "makers", "own"),
    [
        (BY_SLURM, ["nvidia"], {CUDA: "2,3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ({**BY_SLURM, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, ["nvidia"], {CUDA: "2,3"}),
        (BY_SLURM, ["intel"], {ZE: "2,3"}),
        ({ROCR: "2,3"}, [], {ROCR: "2,3", HIP: "0,1", CUDA: "0,1", ORDINAL: "0,1"}),
        ({ZE: "0.0,0.1"}, [], {ZE: "0.0,0.1"}),
        ({CUDA: "MIG-GPU-a/7/0,MIG-b"}, ["nvidia"], {CUDA: "MIG-GPU-a/7/0,MIG-b"}),
        # Flux says CUDA_VISIBLE_DEVICES whoever made them.
        ({CUDA: "2,3"}, ["amd"], {ROCR: "2,3", HIP: "0,1", CUDA: "0,1", ORDINAL: "0,1"}),
        # A prologue chose one of the job's two.
        ({ROCR: "2,3", HIP: "1"}, ["amd"], {ROCR: "3", HIP: "0", CUDA: "0", ORDINAL: "0"}),
        ({HIP: "GPU-a"}, ["amd"], {ROCR: "GPU-a", HIP: "0", CUDA: "0", ORDINAL: "0"}),
        # Nobody says anything.
        ({}, ["nvidia", "intel"], {CUDA: "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ({}, ["amd"], {ROCR: "0,1", HIP: "0,1", CUDA: "0,1", ORDINAL: "0,1"}),
        ({}, ["intel"], {ZE: "0,1"}),
        ({}, [], {CUDA: "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ({CUDA: "-1", ROCR: "NoDevFiles"}, ["intel"], {ZE: "0,1"}),
    ],
)
def test_each_maker_has_a_variable(environ: dict[str, str], makers: list[str], own: dict[str, str]) -> None:
    """What the node has decides; what a variable says is kept, whether indices, UUIDs, slices or tiles."""
    assert variables_for(usable_gpus(visible_gpus(environ), 2, {each: [True] * 4 for each in makers}), environ) == own


@pytest.mark.parametrize(
    ("usable", "names"), [([True] * 4, "23"), ([False, False, True, True], "01"), ([True], "23"), ([], "23")]
)
def test_indices_of_the_node_become_those_of_the_job(usable: list[bool], names: str) -> None:
    """SLURM_JOB_GPUS=2,3: in a control group that hides the others a process counts its own from 0."""
    granted = Gpus(of_node=("2", "3"))
    assert usable_gpus(granted, 2, {"amd": usable} if usable else {}) == {
        "amd" if usable else "nvidia": tuple(names),
    }


def test_a_plain_list_is_of_whoever_made_the_gpus() -> None:
    """What a plugin of somebody else's returns."""
    allocation = Allocation(job_id=JobId("7"), hosts=["n1"], gpus=["1", "2"])
    assert (allocation.gpus.names, len(allocation.gpus)) == (("1", "2"), 2)
    for maker in ("nvidia", "amd", "intel"):
        assert usable_gpus(allocation.gpus, 2, {maker: [True] * 4}) == {maker: ("1", "2")}
    assert not Allocation(job_id=JobId("7"), hosts=["n1"]).gpus


# --- what the kernel says ----------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class Node:
    """Files as in /proc, /sys and /dev of nodes with GPUs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def nvidia(self, address: str, minor: int, *, cpus: str = "") -> None:
        information = f"Model: \t\t NVIDIA A100-SXM4-40GB\nGPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n"
        self.file(f"proc/driver/nvidia/gpus/{address}/information", information)
        self.file(f"sys/bus/pci/devices/{address}/local_cpulist", f"{cpus}\n")

    def amd(self, number: int, location: int, minor: int) -> None:
        said = f"cpu_cores_count 0\nsimd_count 440\nlocation_id {location}\ndomain 0\ndrm_render_minor {minor}\n"
        self.file(f"sys/class/kfd/kfd/topology/nodes/{number}/properties", f"{said}unique_id 255\n")

    def intel(self, address: str, minor: int, pci_class: str = "0x038000") -> None:
        self.file(f"sys/bus/pci/drivers/xe/{address}/class", f"{pci_class}\n")
        self.file(f"sys/bus/pci/drivers/xe/{address}/drm/renderD{minor}/dev")


def test_gpus_of_nvidia_are_counted_by_their_place_on_the_bus(node: Node) -> None:
    """As Slurm and nvidia-smi count them, whatever the numbers of their files; those without a file are not usable."""
    node.nvidia("0000:c7:00.0", 0, cpus="48-63,112-127")
    node.nvidia("0000:07:00.0", 1)
    node.file("dev/nvidia0")
    assert devices_by_maker(node.root) == {
        "nvidia": [Device("0000:07:00.0", False, "GPU-1"), Device("0000:c7:00.0", True, "GPU-0")]
    }
    assert local_cpus("0000:c7:00.0", node.root) == cpus_of("48-63,112-127")
    assert local_cpus("0000:07:00.0", node.root) == frozenset()


def test_gpus_of_amd_are_counted_as_rocm_does(node: Node) -> None:
    """In the order of the kernel's topology, without CPUs; what cannot be read belongs to another job."""
    node.file("sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 64\nsimd_count 0\n")
    node.amd(4, 0xC100, 128)
    node.file("sys/class/kfd/kfd/topology/nodes/5/properties")
    node.amd(10, 0xD600, 130)
    node.file("dev/dri/renderD130")
    assert devices_by_maker(node.root) == {
        "amd": [
            Device("0000:c1:00.0", False, "GPU-00000000000000ff"),
            Device("", False),
            Device("0000:d6:00.0", True, "GPU-00000000000000ff"),
        ]
    }


def test_the_graphics_of_a_laptop_are_no_gpus_for_computing(node: Node) -> None:
    """Intel's drivers run both."""
    node.intel("0000:18:00.0", 128)
    node.intel("0000:00:02.0", 129, "0x030000")
    node.file("dev/dri/renderD128")
    assert devices_by_maker(node.root) == {"intel": [Device("0000:18:00.0", True)]}
    assert devices_by_maker(node.root / "nothing") == {}


def test_the_gpus_of_a_machine_are_given_out_in_the_terms_of_their_maker(node: Node) -> None:
    """The embedded queue divides what its own environment leaves of them; NVIDIA's where there are none to be seen."""
    for number in range(3):
        node.amd(number, number << 8, 128 + number)
        node.file(f"dev/dri/renderD{128 + number}")
    assert own_gpus({}, node.root) == ("0", "1", "2")
    assert own_gpus({ROCR: "1,2", CUDA: "0"}, node.root) == ("1", "2")
    assert own_gpus({ROCR: ""}, node.root) == ()
    assert gpu_variables(["1", "2"], node.root) == {ROCR: "1,2", HIP: "0,1", CUDA: "0,1", ORDINAL: "0,1"}
    assert gpu_variables([], node.root) == {ROCR: "", HIP: "", CUDA: "", ORDINAL: ""}
    assert gpu_variables([], node.root / "nothing") == {CUDA: ""}


def test_a_node_is_asked_when_the_batch_system_counts_its_gpus(node: Node) -> None:
    """The third of a node's GPUs is the first that a job sees."""
    for number in range(4):
        node.nvidia(f"0000:0{number}:00.0", number)
    node.file("dev/nvidia2")
    options = Options.parse(["--credentials=x", "--gpus=1"])
    allocation = Allocation(job_id=JobId("7"), hosts=["n1"], gpus=Gpus(of_node=("2",)))
    assert gpus_of_node(options, allocation, {}, node.root) == {"nvidia": ("0",)}
    assert gpus_of_node(Options.parse(["--credentials=x"]), allocation, {}, node.root) == {}


def test_a_process_has_one_mig_slice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """CUDA shows no more of them to one process: the log says what to ask for."""
    allocation = Allocation(job_id=JobId("7"), hosts=["n1"], gpus=["MIG-a", "MIG-b"])
    gpus_of_node(Options.parse(["--credentials=x", "--gpus=2", "--workers=2"]), allocation, {}, tmp_path)
    assert capsys.readouterr().err == ""
    gpus_of_node(Options.parse(["--credentials=x", "--gpus=2"]), allocation, {}, tmp_path)
    assert "there are 2: processes=2 uses them all" in capsys.readouterr().err


# --- in workers --------------------------------------------------------------------------------------------------


async def test_workers_of_amd_gpus_have_one_each(cluster: Cluster) -> None:
    """As Slurm says it on a node of AMD's that is set up as it should be: ROCR_VISIBLE_DEVICES alone."""
    await cluster.connect("--workers=2", "--gpus=2", ROCR_VISIBLE_DEVICES="4,6")

    async with cluster.client() as client:
        seen = await client.run(lambda: {name: os.environ[name] for name in (ROCR, HIP, CUDA)})
    by_name = {cluster.scheduler.workers[address].name: environ for address, environ in seen.items()}
    assert by_name == {
        "77_0-0": {ROCR: "4", HIP: "0", CUDA: "0"},
        "77_0-1": {ROCR: "6", HIP: "0", CUDA: "0"},
    }
    assert all(worker.resources == {"GPU": 1} for worker in cluster.scheduler.workers.values())
