"""Amounts of memory as people write them. Without Dask, which a launcher does not have at once."""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{letter}{ending}": 1000 ** (power + 1) for power, letter in enumerate("KMGTP") for ending in ("", "B")},
    **{f"{letter}{ending}": 1024 ** (power + 1) for power, letter in enumerate("KMGTP") for ending in ("I", "IB")},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)


def bytes_in(value: float | str) -> int:
    """Bytes, from a number of them or a text such as ``"256GB"`` (10^9 bytes each) or ``"256GiB"`` (2^30).

    Raises
    ------
    ValueError
    """
    if not isinstance(value, str):
        return int(value)
    match = _SIZE.fullmatch(value)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"{value!r} is no amount of memory; write for example '256GB'")
    unit = _UNITS[match[2].upper()]
    return int(match[1]) * unit if match[1].isdigit() else int(float(match[1]) * unit)


def size_in_words(size: int) -> str:
    """The amount as it may be written, never more than it is: ``250GB``, ``192GiB``, ``515.6GB``."""
    for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "kB"):
        if size >= (one := _UNITS[unit.upper()]) and size % one == 0:
            return f"{size // one}{unit}"
    if size < 10**6:
        return f"{size}B"
    unit = "GB" if size >= 10**9 else "MB"
    tenths = size * 10 // _UNITS[unit]
    return f"{tenths // 10}.{tenths % 10}{unit}"
