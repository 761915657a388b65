"""What a site has decided for all of its users: ``lsf.conf``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_UNIT = re.compile(r"""^\s*LSF_UNIT_FOR_LIMITS\s*=\s*["']?([KMGTPEZ])B?\b""", re.MULTILINE | re.IGNORECASE)


def unit_for_limits(environ: Mapping[str, str]) -> str | None:
    """LSF_UNIT_FOR_LIMITS of this host's lsf.conf, as ``MB``; None if that does not say, or cannot be read.

    Where it is set, a plain number of -M is a thousand times what it would be: IBM's installation sets it, lsf.conf(5).
    """
    try:
        text = Path(environ.get("LSF_ENVDIR") or "/etc", "lsf.conf").read_text(errors="replace")
    except OSError:
        return None
    # The last word counts.
    units = _UNIT.findall(text)
    return f"{units[-1].upper()}B" if units else None
