"""Which GPUs this node has, which of them this process may use, and which CPUs are near them: what the kernel says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from corral.host.cpus import Cpus, cpus_of

#: Intel's drivers also run the graphics of every laptop; GPUs for computing are no VGA controllers (PCI class 03 80).
_INTEL_COMPUTE = "0x0380"


class Device(NamedTuple):
    """A GPU, or the part of one that its libraries count as one."""

    #: On the PCI bus: ``0000:c1:00.0``.
    address: str
    #: False if the job's control group keeps this process from it.
    is_usable: bool
    #: As its maker's variable spells it; empty: not known.
    uuid: str = ""


def devices_by_maker(root: Path = Path("/")) -> dict[str, list[Device]]:
    """The GPUs of the makers that this node has any of, in the order in which each maker's libraries count them."""
    found = {"nvidia": sorted(_nvidia(root)), "amd": list(_amd(root)), "intel": sorted(_intel(root))}
    return {maker: devices for maker, devices in found.items() if devices}


def local_cpus(address: str, root: Path = Path("/")) -> Cpus:
    """The CPUs that are near a PCI device; empty if the kernel does not say."""
    return cpus_of(_text(root / "sys/bus/pci/devices" / address / "local_cpulist"))


def near_gpus(
    names: Mapping[str, Sequence[str]], devices: Mapping[str, Sequence[Device]], root: Path
) -> frozenset[int]:
    """The CPUs that are near these GPUs; empty if that is not known of all of them.

    Parameters
    ----------
    names
        As their variables spell them, by maker.
    devices
        The node's.
    """
    near = []
    for maker, of_maker in names.items():
        for name in of_maker:
            device = _named(name, devices.get(maker, ()))
            near.append(Cpus() if device is None else local_cpus(device.address, root))
    return Cpus().union(*near) if all(near) else Cpus()


def _named(name: str, devices: Sequence[Device]) -> Device | None:
    """The GPU of that index, tile (``0.1``), or UUID (its beginning will do), or of which that MIG slice is a part."""
    number = name.partition(".")[0]
    if number.isdecimal():
        usable = [device for device in devices if device.is_usable]
        return usable[int(number)] if int(number) < len(usable) else None
    # MIG-GPU-…/1/0; newer names of slices, MIG-…, do not say of which GPU they are.
    uuid = name.removeprefix("MIG-").partition("/")[0]
    return next((device for device in devices if uuid and device.uuid.startswith(uuid)), None)


def _nvidia(root: Path) -> Iterator[Device]:
    for folder in (root / "proc/driver/nvidia/gpus").glob("*:*"):
        said = dict(re.findall(r"^(.+?)\s*:\s*(\S+)", _text(folder / "information"), re.MULTILINE))
        file = root / f"dev/nvidia{said.get('Device Minor', '?')}"
        yield Device(folder.name.lower(), _may_use(file), said.get("GPU UUID", ""))


def _amd(root: Path) -> Iterator[Device]:
    """ROCm counts the nodes of the kernel's topology that are no CPUs: a GPU may be several."""
    nodes = (root / "sys/class/kfd/kfd/topology/nodes").glob("[0-9]*")
    for node in sorted(nodes, key=lambda node: int(node.name)):
        said = dict(re.findall(r"^(\w+) (\d+)$", _text(node / "properties"), re.MULTILINE))
        if not said:
            # The kernel does not let this process read of a GPU that it may not use.
            yield Device("", is_usable=False)
        elif int(said.get("simd_count", "0")):
            place = int(said.get("location_id", "0"))
            address = f"{int(said.get('domain', '0')):04x}:{place >> 8 & 255:02x}:{place >> 3 & 31:02x}.{place & 7}"
            file = root / f"dev/dri/renderD{said.get('drm_render_minor', '?')}"
            yield Device(address, _may_use(file), f"GPU-{int(said.get('unique_id', '0')):016x}")


def _intel(root: Path) -> Iterator[Device]:
    for driver in ("xe", "i915"):
        for folder in (root / "sys/bus/pci/drivers" / driver).glob("*:*"):
            if _text(folder / "class").startswith(_INTEL_COMPUTE):
                nodes = [root / "dev/dri" / node.name for node in (folder / "drm").glob("renderD*")]
                yield Device(folder.name, any(map(_may_use, nodes)))


def _may_use(file: Path) -> bool:
    # The kernel asks the control group here, too; to open it could wake it up.
    return os.access(file, os.R_OK | os.W_OK)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
