from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.plugin import sites_here

_numbers = itertools.count()

Install = Callable[..., None]


@pytest.fixture
def install_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Install a site as pip would: a module with its metadata in a folder of its own."""
    monkeypatch.setattr(sites_here, "_told", set())

    def install(name: str, code: str, *, group: str = "corral.sites.v1") -> None:
        number = next(_numbers)
        module, folder = f"corral_test_site_{number}", tmp_path / f"site-{number}"
        metadata = folder / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: corral-{name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Site\n")
        (folder / f"{module}.py").write_text(PREAMBLE + textwrap.dedent(code))
        monkeypatch.syspath_prepend(folder)

    return install


PREAMBLE = """
from corral.plugin import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption, hookimpl
"""

#: A site with a bit of everything, on the embedded queue, known by a variable.
MEADOW = """
class Site(DescribedSite):
    description = SiteDescription(
        facts=SiteFacts(
            title="The Meadow", hosts=("meadow*",), environment={"MEADOW_HOST": "*"}, sources=("the shepherd",),
            checked="2026-11-29",
        ),
        backend="local",
        defaults={"account": "$MEADOW_ACCOUNT", "memory": "2GB", "polling-interval": "7 min", "queue": "grass"},
        required={"account": "`flock` lists your accounts"},
        options={"gate": SiteOption(help="which gate is open", choices=("north", "south"))},
        groups={"small": {"cores": 1, "memory": "1GB"}, "large": {"cores": 2, "memory": "3GB", "walltime": "30 min"}},
    )
"""


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
