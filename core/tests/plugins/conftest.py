from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corral.plugin import site_files

HERE = Path(__file__).parent
ACME = HERE.parent / "testing" / "acme"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put plugins on the path as pip would leave them: a module with its metadata in one folder."""

    def install(*folders: str) -> None:
        for folder in folders:
            monkeypatch.syspath_prepend(ACME if folder == "acme" else HERE / folder)

    return install


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the variable names; it is still to be written."""
    path = tmp_path / "sites.yaml"
    monkeypatch.setenv(site_files.VARIABLE, str(path))
    return path
