"""The made-up centre keeps the laws of every site; docs/writing-a-site.md is about it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corral.plugin import Command, over_ssh
from corral.testing import Example, SiteConformance

pytest.importorskip("corral_slurm")


class TestHarbour(SiteConformance):
    site = "harbour"
    arguments: ClassVar[Mapping[str, Any]] = {"account": "physics"}
    hosts = ("login2.harbour.example", "node017.harbour.example")
    environment: ClassVar[Mapping[str, str]] = {"HARBOUR_SYSTEM": "main", "SCRATCH": "/scratch/mary"}
    strangers = ("login2.quay.example",)
    option_values: ClassVar[Mapping[str, Sequence[str]]] = {"licence": ("matlab", "abaqus")}
    examples = (
        Example("one-node", "https://docs.harbour.example/jobs#one-node", {"cores": 128, "memory": "400GB"}),
        Example("gpus", "https://docs.harbour.example/jobs#gpus", {"gpus": 2, "cores": 32, "memory": "200GB"}),
        Example("matlab", "https://docs.harbour.example/matlab", site_options={"licence": "matlab"}, group="gpu"),
    )
    golden = Path(__file__).parent / "harbour" / "golden"


class TestQuay(TestHarbour):
    """The older machine has no arrays."""

    site = "quay"

    def make(self, **options: Any) -> Any:
        return importlib.import_module("corral_harbour").Quay(**options)

    golden = Path(__file__).parent / "harbour" / "golden-quay"


class TestIsland(TestHarbour):
    site = "island"

    def make(self, **options: Any) -> Any:
        return importlib.import_module("corral_harbour").Island(**options)

    golden = Path(__file__).parent / "harbour" / "golden-island"

    def command(self, command: Command) -> Command:
        return over_ssh(command, "login1.island.harbour.example")


class TestHarbourInYAML(TestHarbour):
    """The same site, written in a file; it has the same scripts."""

    environment: ClassVar[Mapping[str, str]] = {
        **TestHarbour.environment,
        "CORRAL_SITES": str(Path(__file__).parent / "harbour" / "harbour.yaml"),
    }
