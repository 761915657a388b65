"""Addresses, the dashboard's link, and open files."""

from __future__ import annotations

import resource

import dask.config
import pytest

from corral.errors import InvalidRequest
from corral.host.limits import raise_descriptor_limit
from corral.security.addresses import addresses_of, dashboard_link, host_of_interface


def test_every_address_is_listed_the_likeliest_first() -> None:
    """Login and compute nodes see different networks; loopback serves jobs on this very host, and comes last."""
    found = addresses_of("tls://192.0.2.7:4000", everywhere=True)
    assert found[0] == "tls://192.0.2.7:4000"
    assert found[-1] == "tls://127.0.0.1:4000"
    assert all(address.startswith("tls://") and address.endswith(":4000") for address in found)
    assert addresses_of("tls://192.0.2.7:4000", everywhere=False) == ("tls://192.0.2.7:4000",)


def test_an_interface_that_is_not_here_is_named_with_those_that_are() -> None:
    """And with the argument for interfaces that only compute nodes have."""
    assert host_of_interface("interface", "lo") == "127.0.0.1"
    with pytest.raises(InvalidRequest, match=r"'ib9'.*\blo\b.*worker_interface="):
        host_of_interface("interface", "ib9")


def test_the_dashboard_is_found_where_people_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the shell, behind JupyterHub's proxy, or where the configuration says; always under the secret prefix."""
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    assert dashboard_link(8787, "/secret") == "http://127.0.0.1:8787/secret/status"
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    assert dashboard_link(8787, "/secret") == "/user/me/proxy/8787/secret/status"
    with dask.config.set({"distributed.dashboard.link": "https://hub/{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status"}):
        assert dashboard_link(8787, "/secret") == "https://hub//user/me/proxy/8787/secret/status"


def test_a_link_that_cannot_be_made_as_asked_is_a_plain_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a user wrote is for another machine, or wrong: that is told once, and is no error."""
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    for template, told in (
        ("/user/{JUPYTERHUB_USER}/proxy/{port}/status", "no variable 'JUPYTERHUB_USER'"),
        ("/proxy/{}/status", "Replacement index 0"),
        ("/proxy/{port/status", "expected '}'"),
        ("/proxy/{port.number}/status", "no attribute 'number'"),
    ):
        caplog.clear()
        with dask.config.set({"distributed.dashboard.link": template}):
            for _ in range(3):
                assert dashboard_link(8787, "/secret") == "http://127.0.0.1:8787/secret/status"
        [record] = caplog.records
        assert template in record.message
        assert told in record.message


@pytest.mark.parametrize(
    ("template", "link"),
    [
        ("/user/{NAME}/proxy/{port}/status", "/user/me/proxy/8787/secret/status"),
        ("/node/{NAME}/5000/proxy/{port}/status?x", "/node/me/5000/proxy/8787/secret/status?x"),
        ("/rnode/{host}/{port}/status", "/rnode/node7/8787/secret/status"),
        ("{scheme}://{host}:{port}/status", "http://node7:8787/secret/status"),
        ("https://hub/proxy/{port}/", "https://hub/proxy/8787/secret/status"),
    ],
)
def test_a_template_of_the_user_s(monkeypatch: pytest.MonkeyPatch, template: str, link: str) -> None:
    """It need not know the secret: that stands before the page, after all that proxies take off."""
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    monkeypatch.setenv("NAME", "me")
    with dask.config.set({"distributed.dashboard.link": template}):
        assert dashboard_link(8787, "/secret", "node7") == link


def test_open_files_are_allowed_before_the_scheduler_starts(caplog: pytest.LogCaptureFixture) -> None:
    """A soft limit of 1,024 ends near 340 workers; what the hard limit cannot hold is told."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        raise_descriptor_limit(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
        assert not caplog.records
        if hard != resource.RLIM_INFINITY:
            raise_descriptor_limit(hard)
            assert "ulimit -Hn" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
