"""What is installed, for the kit, which asks before each test."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from corral.plugin import discovery


def installed_plugins() -> Sequence[discovery.Installed]:
    """All that are installed, looked at once for each `sys.path`: that reads a file of every distribution."""
    return _on(tuple(sys.path))


@functools.cache
def _on(_: tuple[str, ...]) -> Sequence[discovery.Installed]:
    return tuple(discovery.installed())
