from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ACME = HERE.parent / "testing" / "acme"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put plugins on the path as pip would leave them: a module with its metadata in one folder."""

    def install(*folders: str) -> None:
        for folder in folders:
            monkeypatch.syspath_prepend(ACME if folder == "acme" else HERE / folder)

    return install
