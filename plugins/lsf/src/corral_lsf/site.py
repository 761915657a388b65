"""What a site has decided for all of its users: ``lsf.conf``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from corral.plugin import InvalidRequest

#: That ``-M`` of a script can be written in.
UNITS = ("KB", "MB", "GB", "TB")

_UNIT = re.compile(r"""^\s*LSF_UNIT_FOR_LIMITS\s*=\s*["']?([KMGTPEZ])B?\b""", re.MULTILINE | re.IGNORECASE)


def unit_for_limits(environ: Mapping[str, str]) -> str | None:
    """LSF_UNIT_FOR_LIMITS of this host's lsf.conf, as ``MB``; None if that does not say, or cannot be read.

    Where it is set, a plain number of -M is a thousand times what it would be: IBM's installation sets it, lsf.conf(5).

    Raises
    ------
    InvalidRequest
        It is none of `UNITS`: what is asked for in another would be a thousandth of what was meant.
    """
    path = Path(environ.get("LSF_ENVDIR") or "/etc", "lsf.conf")
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return None
    # The last word counts.
    units = _UNIT.findall(text)
    if not units:
        return None
    unit = f"{units[-1].upper()}B"
    if unit not in UNITS:
        raise InvalidRequest("memory_unit", f"{path} says {unit}; say which of {', '.join(UNITS)} your jobs use")
    return unit
