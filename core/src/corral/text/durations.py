"""Durations as people write them, the same wherever one is asked for."""

from __future__ import annotations

import datetime
import math
import re

_SECONDS = {
    "ms": 0.001,
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
}
_PART = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*,?")
#: Days are set off as Slurm does (``1-02:00:00``), as TORQUE does (``1:02:00:00``), or as Python prints a timedelta.
_CLOCK = re.compile(
    r"(?:(?P<days>\d+)(?:-|:| days?, *))?(?P<hours>\d+):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})(?P<rest>\.\d+)?"
)
#: Slurm's days and hours: ``2-12``, ``2-12:30``.
_DAYS = re.compile(r"(?P<days>\d+)-(?P<hours>\d{1,2})(?::(?P<minutes>\d{1,2}))?")
_SHORT = re.compile(r"(\d+):(\d{1,2})")


def seconds_in(value: object, *, bare_text: bool = True) -> float:
    """Seconds, from ``"90s"``, ``"1h30m"``, ``"30 min"``, ``"HH:MM:SS"``, ``"D-HH"``, a number, a timedelta.

    Parameters
    ----------
    bare_text
        A text without a unit is seconds; False: it is refused, because it is minutes to some batch systems.

    Raises
    ------
    ValueError
        It is none; says why. Also for what is less than 0, or no finite number.
    """
    seconds = _seconds(value, bare_text)
    if seconds < 0:
        raise ValueError(f"{value!r} is less than 0")
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} is forever, which is not a duration")
    return seconds


def in_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``1.5 h``, ``3 d``."""
    for size, least, unit in ((86_400, 172_800, "d"), (3600, 3600, "h"), (60, 60, "min")):
        if seconds >= least:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{seconds:.0f} s"


def _seconds(value: object, bare_text: bool) -> float:
    if isinstance(value, str):
        return _read(value, value.strip(), bare_text)
    if type(value).__name__ == "timedelta64":
        # numpy's, whose number counts any unit: as a timedelta, or None if it is none.
        value = value.astype("timedelta64[us]").item()  # type: ignore[attr-defined]
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    # Also numpy's numbers.
    if is_truth(value) or not hasattr(value, "__float__"):
        raise ValueError(f"{value!r} is not a duration")
    return float(value)


def is_truth(value: object) -> bool:
    """Whether it is True or False, Python's or numpy's: those are numbers to Python, and to nobody else."""
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _read(value: str, text: str, bare_text: bool) -> float:
    if match := _CLOCK.fullmatch(text) or _DAYS.fullmatch(text):
        rest = float(match.groupdict().get("rest") or 0)
        part = {name: int(number or 0) for name, number in match.groupdict().items() if name != "rest"}
        if part["minutes"] > 59 or part.get("seconds", 0) > 59 or (part["days"] and part["hours"] > 23):
            raise ValueError(f"{value!r} has more than 59 minutes or seconds, or more than 23 hours beside days")
        hours = part["days"] * 24 + part["hours"]
        return (hours * 60 + part["minutes"]) * 60 + part.get("seconds", 0) + rest
    if short := _SHORT.fullmatch(text):
        first, second = int(short[1]), int(short[2])
        raise ValueError(
            f"{value!r} is {first} min {second} s to Slurm and {first} h {second} min to LSF; "
            f"write '00:{first:02}:{second:02}' or '{first:02}:{second:02}:00'"
        )
    if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        if not bare_text:
            raise ValueError(f"{value!r} has no unit: it is minutes to some batch systems and seconds to others")
        return float(text)
    total, end = 0.0, 0
    while match := _PART.match(text, end):
        if match[2].lower() not in _SECONDS:
            raise ValueError(f"{value!r} is not a duration: {match[2]!r} is not a unit of time")
        total += float(match[1]) * _SECONDS[match[2].lower()]
        end = match.end()
    if not end or end != len(text):
        raise ValueError(f"{value!r} is not a duration")
    return total
