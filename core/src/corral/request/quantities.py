"""Amounts, as people write them: durations, memory, counts, hours; and options, as JSON has them.

Each function names the argument that it was given, in whose error its problem is told.
"""

from __future__ import annotations

import json
import math
import numbers
import os
from collections.abc import Mapping
from typing import Any

from corral.errors import InvalidRequest
from corral.text.durations import is_truth, seconds_in


def parse_duration(argument: str, value: object, *, least: float = 0.0) -> float:
    """Seconds, from what people write: ``"30 min"``, ``"1h30m"``, ``"00:30:00"``, 90, a timedelta.

    Raises
    ------
    InvalidRequest
        It is no duration, or less than `least` seconds.
    """
    try:
        seconds = seconds_in(value)
    except ValueError as error:
        raise InvalidRequest(argument, f"{error}; write for example '60s' or '30 min'") from None
    if seconds < least:
        raise InvalidRequest(argument, f"{value!r} is less than {least:g} s")
    return seconds


def parse_memory(argument: str, value: object) -> int:
    """Bytes; ``"32GB"`` is 32 * 10^9, ``"32GiB"`` is 32 * 2^30.

    Raises
    ------
    InvalidRequest
    """
    problem = InvalidRequest(argument, f"{value!r} is not an amount of memory; write for example '32GB' or '30GiB'")
    try:
        # Requests round up: never ask for less than the user did.
        parsed = math.ceil(_exact_bytes(value))
    except (ValueError, OverflowError):
        raise problem from None
    if parsed == 0:
        raise InvalidRequest(
            argument,
            f"{value!r} is no memory at all; leave {argument}= out where the batch system or your site decides, and "
            "workers keep within what the job is given",
        )
    if 0 < parsed < 2**20:
        raise InvalidRequest(
            argument, f"{value!r} is {parsed} bytes, less than a worker can start with; did you forget 'GB'?"
        )
    if parsed < 0:
        raise problem
    return parsed


def _exact_bytes(value: object) -> float:
    if isinstance(value, str):
        # Not before there is an amount to read: a shell that completes an option need not wait for Dask.
        from dask.utils import parse_bytes

        if not value.strip()[:1].isdigit() and not value.strip().startswith("."):
            raise ValueError(value)  # parse_bytes reads "GB" as one gigabyte
        return parse_bytes(value)
    # Also numpy's numbers.
    if is_truth(value) or not hasattr(value, "__float__") or not math.isfinite(float(value)):
        raise ValueError(value)
    return value if isinstance(value, int) else float(value)


def parse_walltime(argument: str, value: object) -> int:
    """Seconds, rounded up, from ``"HH:MM:SS"``, ``"D-HH:MM:SS"``, ``"2h"``, a number of seconds or a timedelta.

    Raises
    ------
    InvalidRequest
        ``"00:30"`` too: it is 30 seconds to some batch systems and 30 minutes to others.
    """
    examples = "write for example '02:00:00' or '2h'"
    try:
        seconds = seconds_in(value, bare_text=False)
    except ValueError as error:
        raise InvalidRequest(argument, f"{error}; {examples}") from None
    if seconds <= 0:
        raise InvalidRequest(argument, f"{value!r} is not above 0; {examples}")
    return math.ceil(seconds)


def parse_count(argument: str, value: object, *, at_least: int = 0) -> int:
    """A whole number, also numpy's, or 2.0.

    Raises
    ------
    InvalidRequest
    """
    number = -1
    if not is_truth(value) and not isinstance(value, str) and hasattr(value, "__float__"):
        exact = float(value)
        number = int(value) if math.isfinite(exact) and exact.is_integer() else -1  # type: ignore[call-overload]
    if number < at_least:
        raise InvalidRequest(argument, f"{value!r} is not a whole number of at least {at_least}")
    return number


def hours_of(argument: str, value: object) -> float | None:
    """A number of hours, or None.

    Raises
    ------
    InvalidRequest
    """
    if value is None:
        return None
    # numpy's numbers are some, too.
    if is_truth(value) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise InvalidRequest(argument, f"{value!r} is not a number of hours above 0")
    return float(value)


def usual_processes(cores: int, gpus: int = 0, threads: int | None = None) -> int:
    """Workers for so many cores: one per GPU; else as `threads` divides them, or by the divisor nearest to the square
    root, so that no core is left.
    """
    if gpus:
        return min(gpus, cores)
    if threads is not None:
        return max(1, cores // threads)
    if cores < 4:
        return 1
    return min((n for n in range(1, cores + 1) if cores % n == 0), key=lambda n: (abs(n - math.sqrt(cores)), n))


def plain_options(argument: str, value: object) -> dict[str, Any]:
    """A mapping as JSON has it: paths are texts, numpy's numbers are numbers.

    Raises
    ------
    InvalidRequest
    """

    def spelled(other: Any) -> object:
        if isinstance(other, os.PathLike):
            return os.fspath(other)
        if isinstance(other, type):
            raise TypeError(f"{other!r}; name classes by their path")
        if hasattr(other, "item"):
            return other.item()
        raise TypeError(f"{other!r}")

    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        # dask-jobqueue's are words of a command line.
        cure = ": --resources GPU=1 is {'resources': {'GPU': 1}} here" if argument == "worker_options" else ""
        raise InvalidRequest(argument, f"{value!r} is not a mapping of names to values{cure}")
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(value), default=spelled))
    except (TypeError, ValueError) as error:
        raise InvalidRequest(argument, f"must be expressible in JSON, which has no {error}") from None
    return found
