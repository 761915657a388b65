"""Numbers, durations and moments as people read them."""

from __future__ import annotations

import datetime
import math

from corral.text.durations import in_words

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def hours(number: float) -> str:
    """``0.003``, ``0.42``, ``12.5``, ``1,250``: as exact as anybody needs to know."""
    if 0 < number < 0.1:
        return f"{number:.3f}" if number >= 0.001 else "<0.001"
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f}"


def size(number: float) -> str:
    """Bytes: ``64 MB``, ``1.5 GB``."""
    power = min(int(math.log10(number) // 3), len(_UNITS) - 1) if number >= 1 else 0
    return f"{number / 1000**power:,.3g} {_UNITS[power]}"


def duration(seconds: float | None) -> str:
    """``40 s``, ``12 min``, ``1.5 h``; a dash for None."""
    return "–" if seconds is None else in_words(max(0.0, seconds))


def moment(seconds: float) -> str:
    """``2026-03-01 14:30:00 +0100``, of seconds since the epoch; on this host's clock."""
    try:
        return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):
        return "at no date that there is"


def elapsed(seconds: float) -> str:
    """``0``, ``30 s``, ``1 h 30 min``, ``2 d 6 h``: a mark of an axis."""
    parts, left = [], round(seconds)
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if number := left // length:
            parts.append(f"{number} {unit}")
            left -= number * length
    return " ".join(parts[:2]) or "0"


def cut(text: str, length: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
