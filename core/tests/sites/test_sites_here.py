"""The site that this host belongs to is used; what is said wins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import dask.config
import pytest

from corral.errors import InvalidRequest
from corral.host.names import host_names
from corral.request.blueprint import Blueprint
from corral.request.drawing import draw

Install = Callable[..., None]


@pytest.mark.usefixtures("meadow")
def test_a_site_is_found_by_a_variable(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was said: backend, memory and account are the site's."""
    with caplog.at_level(logging.INFO, logger="corral"):
        blueprint = draw({})
    assert (blueprint.backend, blueprint.site) == ("local", "meadow")
    job = blueprint.request("default", 1)
    assert (job.account, job.queue, job.resources.memory) == ("ewe", "grass", 2_000_000_000)
    assert "site 'meadow' (corral-meadow 1.0: MEADOW_HOST=meadow7) is used; site=None turns it off" in caplog.text


def test_a_site_is_found_by_the_host_name(
    install_site: Install, meadow_code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compute nodes and cron jobs have no variables of the login shell's."""
    install_site("meadow", meadow_code)
    monkeypatch.setattr("socket.gethostname", lambda: "meadow-login1")
    assert draw({"account": "ram"}).site == "meadow"


@pytest.mark.usefixtures("meadow")
def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a script that exports all that it knows of."""
    monkeypatch.setenv("MEADOW_HOST", "")
    assert draw({"backend": "local", "memory": "1GB"}).site is None


@pytest.mark.usefixtures("meadow")
@pytest.mark.parametrize("configured", [{"site": "none"}, {"site": None}, {"site": False}])
def test_no_site_at_all(configured: dict[str, object]) -> None:
    """In the program, on the command line and in the configuration."""
    assert draw({"site": "none", "memory": "1GB", "backend": "local"}).site is None
    with dask.config.set({"corral": configured}):
        assert draw({"memory": "1GB", "backend": "local"}).site is None
        assert draw({"site": "meadow", "backend": "local"}).site == "meadow"


@pytest.mark.usefixtures("meadow")
def test_another_backend_is_not_the_sites(
    install_site: Install, meadow_code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who names another batch system on its hosts does not mean the site, unless both are named."""
    install_site("paddock", meadow_code.replace('"local"', '"slurm"').replace("MEADOW_HOST", "PADDOCK_HOST"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MEADOW_HOST")
        patch.setenv("PADDOCK_HOST", "1")
        with caplog.at_level(logging.INFO, logger="corral"):
            assert draw({"backend": "local", "memory": "1GB"}).site is None
        assert draw({"backend": "local", "site": "paddock"}).site == "paddock"
    assert "is not used: backend 'local' was named, which is not its own" in caplog.text


def test_a_sites_own_backend_need_not_be_there_if_another_was_named(install_site: Install, meadow_code: str) -> None:
    """Both were named, and both are used."""
    install_site("paddock", meadow_code.replace('"local"', '"oxcart"'))
    command = draw({"backend": "local", "site": "paddock", "account": "ram"}).request("default", 1).command
    assert "--backend=local" in command


@pytest.mark.usefixtures("meadow")
def test_two_sites_are_an_error_that_names_both(install_site: Install, meadow_code: str) -> None:
    """With what speaks for each, and the cure."""
    install_site("pasture", meadow_code.replace("The Meadow", "The Pasture"))
    with pytest.raises(InvalidRequest) as caught:
        draw({})
    assert str(caught.value) == (
        "site: this host belongs to several sites: 'meadow' (corral-meadow 1.0: MEADOW_HOST=meadow7) and 'pasture' "
        "(corral-pasture 1.0: MEADOW_HOST=meadow7). Say which with site='meadow', or use none with site=None"
    )
    assert draw({"site": "pasture"}).site == "pasture"
    assert draw({"site": "none", "memory": "1GB", "backend": "local"}).site is None


@pytest.mark.usefixtures("meadow")
def test_a_broken_site_stops_nobody(install_site: Install, meadow_code: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once; whoever names it meets the error."""
    install_site("swamp", "raise OSError('no ground')")
    install_site("bog", "class Site: facts = 'wet'")
    install_site("fen", meadow_code, group="corral.sites.v9")
    for _ in range(2):
        assert draw({}).site == "meadow"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in told if "'swamp'" in text] == [
        "the site 'swamp' (corral-swamp 1.0) cannot be asked whether this host is its own, and is not used: "
        + next(text for text in told if "'swamp'" in text).partition("not used: ")[2]
    ]
    assert "cannot be imported: OSError: no ground" in caplog.text
    assert "has facts that are a str" in caplog.text
    assert "speaks contract v9" in caplog.text
    with pytest.raises(Exception, match="no ground"):
        draw({"site": "swamp"})


def test_a_site_without_facts_is_used_by_name_only(install_site: Install) -> None:
    """As those were that only wrap hooks."""
    install_site("moor", "class Site: backend = 'local'")
    assert draw({"backend": "local", "memory": "1GB"}).site is None
    assert draw({"site": "moor", "memory": "1GB"}).backend == "local"


def test_names_of_a_host_without_a_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of hosts, and the domain of the resolver: only its own one, the first of the last line."""
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    monkeypatch.setattr("socket.gethostname", lambda: "login3")
    assert host_names(hosts, resolver) == ["login3"]
    hosts.write_text("127.0.0.1 localhost\n10.0.0.3\tlogin3.farm.example login3 # us\n10.0.0.4 login4.farm.example\n")
    resolver.write_text("search old.example\nsearch field.example. farm.example\nnameserver 192.0.2.1\n")
    assert host_names(hosts, resolver) == ["login3", "login3.farm.example", "login3.field.example"]
    hosts.write_bytes(b"\xff\xfe\n\n#\n10.0.0.3\n")
    resolver.write_text("search\n")
    assert host_names(hosts, resolver) == ["login3"]


def test_the_blueprint_of_a_named_site_keeps_its_options(install_site: Install, meadow_code: str) -> None:
    """They go to the launcher, too, if the site does more than to complete requests."""
    install_site("meadow", meadow_code)
    blueprint: Blueprint = draw({"site": "meadow", "site_options": {"gate": "south"}, "account": "ram"})
    assert blueprint.site_options == {"gate": "south"}
    assert not [word for word in blueprint.request("default", 1).command if word.startswith("--site")]
    hook = """
    @hookimpl(wrapper=True)
    def launch_command(self, allocation, command):
        return (yield)
    """
    install_site("fenced", meadow_code + hook)
    blueprint = draw({"site": "fenced", "site_options": {"gate": "south"}, "account": "ram"})
    command = blueprint.request("default", 1).command
    assert {"--site=fenced", '--site-options={"gate": "south"}'} <= set(command)
