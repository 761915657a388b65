"""What may stand in a registry file: what is not what corral writes is a ValueError that says so."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import Attribute

from corral.ssh.address import Address

if TYPE_CHECKING:
    from corral.cluster.registry import Entry


def is_line(_: object, attribute: Attribute[Any], value: str) -> None:
    """One line, as it may be shown."""
    if not value.isprintable() or len(value) > 4096:
        raise ValueError(f"{attribute.name} is {value[:60]!r}, which is not one printable line")


def are_lines(_: object, attribute: Attribute[Any], value: Sequence[str]) -> None:
    """Several of them."""
    for each in value:
        is_line(_, attribute, each)


def is_way(_: object, __: object, value: str) -> None:
    """The address of a host, which becomes words of a command."""
    if value:
        Address.parse(value)


def is_moment(_: object, attribute: Attribute[Any], value: float) -> None:
    """Seconds since the epoch."""
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{attribute.name} is {value!r}, which is not a time")


def is_uuid(_: object, attribute: Attribute[Any], value: str) -> None:
    """Of a cluster."""
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise ValueError(f"{attribute.name} is {value[:60]!r}, not 32 hexadecimal digits")


def are_its_own(entry: Entry, attribute: Attribute[Any], value: Sequence[str]) -> None:
    """Beginnings of the names of the cluster's jobs."""
    # The uuid's part is what makes jobs this cluster's: by no other name anything is ever cancelled.
    for prefix in value:
        if not re.fullmatch(rf"[\w.+-]{{0,200}}{entry.uuid[:8]}-", prefix, re.ASCII):
            raise ValueError(f"{attribute.name} has {prefix[:60]!r}, which no job of cluster {entry.uuid} begins with")


def is_its_file(entry: Entry, attribute: Attribute[Any], value: str) -> None:
    """Where the cluster has its credentials."""
    path = PurePosixPath(value)
    is_right = path.is_absolute() and ".." not in path.parts and value.isprintable()
    if value and not (is_right and path.parts[-3:] == ("clusters", entry.uuid, "credentials.json")):
        raise ValueError(f"{attribute.name} is {value[:60]!r}, which is not where cluster {entry.uuid} has them")
