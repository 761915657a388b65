"""The site of a cluster whose commands are carried to another host is that host's."""

from __future__ import annotations

from collections.abc import Callable

import dask.config
import pytest
from click.testing import CliRunner
from pastures import MEADOW
from sshd import Sshd

from corral.cli import main
from corral.errors import InvalidRequest
from corral.request.carrying import connection
from corral.request.drawing import batch_and_site, draw
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


def test_the_way_may_be_one_backends(
    install_site: Callable[..., None], monkeypatch: pytest.MonkeyPatch, centre: Connection
) -> None:
    """In the configuration: then the site is that host's as well, as the commands are carried there."""
    install_site("meadow", MEADOW.replace('"local"', '"slurm"'))
    install_site("barn", BARN.replace('hosts=("barn",)', 'environment={"BARN": "*"}').replace('"local"', '"slurm"'))
    monkeypatch.setenv("BARN", "here")
    with dask.config.set({"corral.backends": {"slurm": {"via": "ssh://centre"}}}):
        batch, _, site = batch_and_site({"backend": "slurm"})
    assert site is not None
    assert (site.name, batch.runner.via) == ("meadow", centre)


@pytest.mark.usefixtures("centre")
@pytest.mark.parametrize("ask", [draw, batch_and_site])
def test_the_queue_of_this_host_is_not_carried(ask: Callable[[dict[str, object]], object]) -> None:
    """Neither for a cluster nor for a question."""
    with pytest.raises(InvalidRequest, match="^via: 'ssh://centre' leads to another host"):
        ask({"via": "ssh://centre", "backend": "local", "memory": "1GB", "site": "none"})


@pytest.mark.usefixtures("centre")
def test_the_queue_of_this_host_is_not_looked_for_there() -> None:
    """By its name no more than in the list."""
    done = CliRunner().invoke(main, ["backends", "local", "--via", "ssh://centre"])
    assert done.exit_code == 2
    assert done.output.startswith("corral: via: 'ssh://centre' leads to another host")


@pytest.mark.usefixtures("centre")
def test_what_answers_there_is_shown_with_the_site_of_there(
    install_site: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not with this host's, or this host's names."""
    install_site("barn", BARN.replace('hosts=("barn",)', 'environment={"BARN": "*"}'))
    monkeypatch.setenv("BARN", "here")

    def shown() -> str:
        done = CliRunner().invoke(main, ["backends", "--via", "ssh://centre"])
        return done.output.splitlines()[-1]

    assert shown().startswith("site: No site is used: none that is installed knows that host (centre, ")
    install_site("meadow", MEADOW)
    assert shown() == "site: meadow is used: MEADOW_HOST=meadow7. site=None turns it off."
