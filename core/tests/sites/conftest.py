from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pastures import MEADOW
from pastures import install_site as install

from corral.plugin import sites_here, well_known

Install = Callable[..., None]


@pytest.fixture
def install_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Install a site, by its name and code."""
    monkeypatch.setattr(sites_here, "_told", set())
    return lambda name, code, **more: install(monkeypatch, tmp_path, name, code, **more)


@pytest.fixture
def prairie(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that is known, and never installed: those of contrib/ may be."""
    monkeypatch.setitem(well_known.SITES, "prairie", "corral-prairie")


@pytest.fixture
def meadow_code() -> str:
    """What `install_site` takes for the Meadow."""
    return MEADOW


@pytest.fixture
def meadow(install_site: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a host of the Meadow's."""
    install_site("meadow", MEADOW)
    monkeypatch.setenv("MEADOW_HOST", "meadow7")
    monkeypatch.setenv("MEADOW_ACCOUNT", "ewe")
