from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

MADE_UP = [Path(__file__).parent / name for name in ("acme", "quern", "harbour")]


@pytest.fixture(scope="module", autouse=True)
def _made_up_plugins_are_installed() -> Iterator[None]:
    """Backends and a site, as pip would leave them: a module and its metadata on the path."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in MADE_UP:
            patch.syspath_prepend(folder)
        yield
