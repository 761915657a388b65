"""GPUs of three makers: by which variables a job hears which are its own, and a process which of them to use.

All that corral knows about that is in `MAKERS`. Imports the standard library alone: batch systems' own commands, which
may not find anything else, use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Maker:
    """How the libraries of one maker are told which GPUs to use."""

    name: str
    #: Indices or UUIDs, divided by commas.
    variable: str
    #: What some of its libraries read besides, and *within* the first: an index counts those that the first has left.
    within: tuple[str, ...] = ()
    #: What its libraries should see, unless somebody has said otherwise, when GPUs are named by indices.
    order: tuple[tuple[str, str], ...] = ()


MAKERS = (
    # Batch systems count GPUs by their place on the bus: gres.conf(5), Links. CUDA by itself counts the fastest first.
    Maker("nvidia", "CUDA_VISIBLE_DEVICES", order=(("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),)),
    # ROCm reads ROCR_VISIBLE_DEVICES. HIP, which is built on it, sees only what that leaves, and reads the first of the
    # others: ROCR_VISIBLE_DEVICES=2,3 beside CUDA_VISIBLE_DEVICES=2,3, which Slurm sets by default, leaves no GPU at
    # all: https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html, gres.conf(5), Parsl/parsl#3858.
    Maker("amd", "ROCR_VISIBLE_DEVICES", within=("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")),
    Maker("intel", "ZE_AFFINITY_MASK"),
)

#: All that say which GPUs a process may use.
GPU_VARIABLES = frozenset(name for maker in MAKERS for name in (maker.variable, *maker.within))

_NVIDIA, _AMD, _ = MAKERS
_HIP = "HIP_VISIBLE_DEVICES"

#: How batch systems hide the GPUs of a node from a job that asked for none: Slurm, LSF and Flux, HTCondor, containers.
_NONE = frozenset({"", "NoDevFiles", "-1", "10000", "none", "void"})


def _by_maker(said: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {maker: tuple(names) for maker, names in said.items() if names}


@dataclass(frozen=True)
class Gpus:
    """The GPUs of one node that a job was granted; false if there are none, or nobody says.

    ``Gpus.of(names)`` if it is not known who made them.
    """

    #: By the maker's name, as its variable says. Slurm by default sets those of all makers: only the node's own counts.
    by_maker: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Their indices among all GPUs of the node, of which a job may see only its own: it counts those from 0 then.
    of_node: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str], maker: str = "") -> Gpus:
        return cls(_by_maker({maker: tuple(names)}))

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Gpus:
        """What `written` gave, be it by way of JSON."""
        return cls(_by_maker(fields["by_maker"]), tuple(fields["of_node"]))

    def written(self) -> dict[str, Any]:
        """In words that JSON has."""
        return {"by_maker": dict(self.by_maker), "of_node": self.of_node}

    @property
    def names(self) -> tuple[str, ...]:
        """Indices or UUIDs, as the variable of one maker spells them; else the indices of the node."""
        return next(iter(self.by_maker.values()), self.of_node)

    def __len__(self) -> int:
        return len(self.names)


def visible_gpus(environ: Mapping[str, str], *, of_node: Iterable[str] = ()) -> Gpus:
    """Those that a job's environment names.

    Parameters
    ----------
    of_node
        What else the batch system says of them: their indices among all GPUs of the node.
    """
    said = {maker.name: _names(environ.get(maker.variable, "")) for maker in MAKERS}
    said["amd"] = _within(said["amd"], _names(environ.get(_HIP, "")))
    return Gpus(_by_maker(said), tuple(of_node))


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for part in value.split(",") if (name := part.strip()) not in _NONE)


def _within(outer: tuple[str, ...], inner: tuple[str, ...]) -> tuple[str, ...]:
    """What HIP makes of ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES."""
    if not outer or not inner:
        return outer or inner
    chosen = tuple(outer[int(name)] for name in inner if name.isdecimal() and int(name) < len(outer))
    return chosen if len(chosen) == len(inner) else outer


# --- what the processes of a node are told -----------------------------------------------------------------------


def usable_gpus(gpus: Gpus, count: int, present: Mapping[str, Sequence[bool]]) -> dict[str, tuple[str, ...]]:
    """The names of a job's GPUs on this node, by maker, in the maker's own terms.

    Parameters
    ----------
    gpus
        What the batch system says.
    count
        How many there must be where it says nothing.
    present
        By maker: for each of the node's GPUs whether this process may use it.
    """
    said = dict(gpus.by_maker)
    first = next(iter(present), _NVIDIA.name)
    if "" in said:
        said = {first: said[""]}
    elif first == _AMD.name and said.keys() == {_NVIDIA.name}:
        # It is HIP's, and without ROCR_VISIBLE_DEVICES it counts as that would.
        said = {first: said[_NVIDIA.name]}
    if said:
        return {maker: said[maker] for maker in present if maker in said} or said
    if gpus.of_node:
        return {first: _as_job_counts(gpus.of_node, present.get(first, ()))}
    return {first: tuple(map(str, range(count)))}


def _as_job_counts(of_node: Sequence[str], usable: Sequence[bool]) -> tuple[str, ...]:
    """Those names for GPUs of the node that a process needs that sees only the usable ones."""
    places = [place for place, is_usable in enumerate(usable) if is_usable]
    numbers = {str(place): str(number) for number, place in enumerate(places)}
    return tuple(numbers[name] for name in of_node) if set(of_node) <= numbers.keys() else tuple(of_node)


def variables_for(names_by_maker: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> dict[str, str]:
    """What a process must find in its environment to use these GPUs and no others.

    Parameters
    ----------
    environ
        What is in it already.
    """
    found: dict[str, str] = {}
    # In this order: where several makers' are set, CUDA_VISIBLE_DEVICES is NVIDIA's, and HIP has one that it prefers.
    for maker in reversed(MAKERS):
        if (names := names_by_maker.get(maker.name)) is None:
            continue
        found |= dict.fromkeys(maker.within, ",".join(map(str, range(len(names)))))
        found[maker.variable] = ",".join(names)
        if any(name.isdecimal() for name in names):
            found |= {name: value for name, value in maker.order if name not in environ}
    return found
