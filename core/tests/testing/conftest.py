from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

MADE_UP = [Path(__file__).parent / name for name in ("acme", "quern", "harbour")]


@pytest.fixture(scope="session")
def acme_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where one of them has its jobs: it runs them for real."""
    return str(tmp_path_factory.mktemp("acme"))


@pytest.fixture(scope="module", autouse=True)
def _made_up_plugins_are_installed(acme_home: str) -> Iterator[None]:
    """Backends and a site, as pip would leave them: a module and its metadata on the path."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in MADE_UP:
            patch.syspath_prepend(folder)
        patch.setenv("PATH", str(MADE_UP[0] / "bin"), prepend=os.pathsep)
        patch.setenv("ACME_HOME", acme_home)
        yield
