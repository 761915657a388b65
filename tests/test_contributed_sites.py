"""The sites of contrib/ beside each other: each machine is recognised as itself, and as nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.plugin import DescribedSite
from corral.plugin.well_known import SITES
from corral.testing import SiteConformance

CONTRIB = Path(__file__).parent.parent / "contrib"


def described() -> dict[str, type[DescribedSite]]:
    """All sites of contrib/, by the names of their entry points; they need not be installed."""
    found = {}
    for path in CONTRIB.glob("*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        for name, value in project.get("entry-points", {}).get("corral.sites.v1", {}).items():
            module, _, attribute = value.partition(":")
            found[name] = getattr(importlib.import_module(module), attribute)
    return found


def declared() -> Iterator[type[SiteConformance]]:
    """What their tests say of each of them."""
    for path in sorted(CONTRIB.glob("*/tests/test_*.py")):
        name = f"beside_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, SiteConformance) and each.__module__ == name:
                yield each


@pytest.fixture(scope="module")
def sites() -> dict[str, type[DescribedSite]]:
    return described()


@pytest.fixture(scope="module")
def tested() -> dict[str, type[SiteConformance]]:
    return {each.site: each for each in declared()}


def test_every_site_is_tested(sites: dict[str, type[DescribedSite]], tested: dict[str, type[SiteConformance]]) -> None:
    """By the laws of all sites, with examples of its centre."""
    assert sites.keys() == tested.keys()
    assert [name for name, test in tested.items() if not test.examples] == []


def test_no_two_sites_are_on_one_host(
    sites: dict[str, type[DescribedSite]], tested: dict[str, type[SiteConformance]]
) -> None:
    """A user would be asked which; so each host, and each variable, is one site's alone."""
    for name, test in tested.items():
        traces: list[tuple[list[str], dict[str, str]]] = [([host], {}) for host in test.hosts]
        traces += [([], {variable: test.environment[variable]}) for variable in sites[name].facts.environment]
        assert traces, f"nothing says where {name} is"
        for hosts, environ in traces:
            found = [other for other, site in sites.items() if site.facts.evidence(hosts, environ)]
            assert found == [name], f"{hosts or environ}"


def test_nobody_claims_to_have_tried_a_machine(sites: dict[str, type[DescribedSite]]) -> None:
    """All of them were put together from what is published: a centre that has tried one says so itself."""
    assert [name for name, site in sites.items() if site.facts.is_tried] == []


def test_modules_say_when_they_were_checked(sites: dict[str, type[DescribedSite]]) -> None:
    """Where one reads them, too."""
    for name, site in sites.items():
        assert site.facts.checked in (sys.modules[site.__module__].__doc__ or ""), name


def test_who_names_one_is_told_what_to_install(sites: dict[str, type[DescribedSite]]) -> None:
    """Also where it is not installed; a machine that is retired is nobody's."""
    offered = {name: f"corral-{site.__module__.removeprefix('corral_')}" for name, site in sites.items()}
    assert offered.pop("summit") == "corral-example_lsf"
    assert offered == SITES
