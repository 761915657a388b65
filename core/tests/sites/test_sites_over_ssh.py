"""The site of a cluster whose commands are carried to another host is that host's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pastures import MEADOW
from sshd import Sshd

from corral.request.carrying import connection
from corral.request.sites import Site, site_of
from corral.ssh.connection import Connection

pytestmark = [pytest.mark.real("sshd"), pytest.mark.timeout(120)]

BARN = """
class Site(DescribedSite):
    description = SiteDescription(facts=SiteFacts(title="The Barn", hosts=("barn",)), backend="local")
"""


@pytest.fixture
def centre(sshd: Sshd) -> Connection:
    """A connection to a host of the Meadow's."""
    sshd.stop()
    sshd.session |= {"MEADOW_HOST": "meadow7", "MEADOW_ACCOUNT": "over-there", "SCRATCH": "/scratch/ewe"}
    sshd.start()
    found = connection("ssh://centre")
    assert found is not None
    return found


def found(given: dict[str, object], via: Connection | None) -> Site | None:
    return site_of(given, via=via)


def test_the_other_hosts_site_is_found_and_not_this_ones(
    install_site: Callable[..., None], monkeypatch: pytest.MonkeyPatch, centre: Connection
) -> None:
    """Its variables count, and those of this host do not."""
    install_site("meadow", MEADOW.replace('"queue": "grass"', '"shared_directory": "$SCRATCH/own"'))
    install_site("barn", BARN.replace('hosts=("barn",)', 'environment={"BARN": "*"}'))
    monkeypatch.setenv("BARN", "here")
    monkeypatch.setenv("MEADOW_ACCOUNT", "mine")
    site = found({}, centre)
    assert site is not None
    assert (site.name, site.because) == ("meadow", "MEADOW_HOST=meadow7")
    assert (site.values["account"], site.values["shared_directory"]) == ("over-there", "/scratch/ewe/own")
    here = found({}, None)
    assert here is not None
    assert here.name == "barn"


def test_it_is_known_by_its_own_name(install_site: Callable[..., None], centre: Connection) -> None:
    """By what it calls itself, or by how it is reached; a named site, and none, are as they are said."""
    install_site("barn", BARN.replace('"barn"', '"centre"'))
    site = found({}, centre)
    assert site is not None
    assert (site.name, site.because) == ("barn", "the host's name centre is like centre")
    assert centre.names[1:] != []
    assert found({"site": "none"}, centre) is None
    named = found({"site": "barn"}, centre)
    assert named is not None
    assert named.because == "it was named"
