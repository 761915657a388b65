"""Sites of nowhere, and how one is installed."""

from __future__ import annotations

import itertools
import os
import textwrap
from pathlib import Path

import pytest

_numbers = itertools.count()


def install_site(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str, group: str = "corral.sites.v1"
) -> None:
    """Install a site as pip would, for this process and what it starts: a module, and its metadata.

    Parameters
    ----------
    folder
        In which it gets one of its own.
    code
        Defines `Site`.
    """
    module = f"corral_test_site_{next(_numbers)}"
    own = folder / module
    metadata = own / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: corral-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Site\n")
    (own / f"{module}.py").write_text(PREAMBLE + textwrap.dedent(code))
    monkeypatch.syspath_prepend(own)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(own), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep))


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
