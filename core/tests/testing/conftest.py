from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ACME = Path(__file__).parent / "acme"


@pytest.fixture(scope="module", autouse=True)
def _acme_is_installed() -> Iterator[None]:
    """The made-up backend, as pip would leave it: a module and its metadata on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ACME)
        yield
