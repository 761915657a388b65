"""The site of a cluster in other processes: its jobs, its scheduler's job, handles, and batch mode."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client

from corral import Allocation, Cluster
from corral.cluster.registry import entries
from corral.errors import NoAllocation, PluginError
from corral.launch.options import Options
from corral.plugin import discovery
from corral.remote.spec import Draft, Order
from corral.request.drawing import draw

Install = Callable[..., None]

pytestmark = pytest.mark.timeout(180)

#: A machine that gives whole nodes: of two cores, and a little memory.
COMMON = """
class Site(DescribedSite):
    description = SiteDescription(
        facts=SiteFacts(title="The Common", environment={"COMMON_HOST": "*"}),
        backend="local",
        defaults={"account": "$COMMON_ACCOUNT", "memory": "150MB", "command_timeout": "77s"},
        required={"account": "ask the commoners"},
        options={"gate": SiteOption(help="which gate", default="east")},
        groups={"half": {"cores": 1}},
        nodes=(NodeType(name="whole", queue="local", cores=2, memory="5GB", whole=True),),
    )
"""


@pytest.fixture(autouse=True)
def common(install_site: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Be there, with a state directory of the test's own."""
    install_site("common", COMMON)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COMMON_HOST", "c1")
    monkeypatch.setenv("COMMON_ACCOUNT", "goose")


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """Of a cluster in a queue of the test's own, of which the site does not know."""
    options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "32GB"}
    return {"interface": "lo", "backend_options": options}


def test_a_site_that_carries_commands_says_where_to(install_site: Install) -> None:
    """One that forgot is told when it is made, and not by the first command."""
    install_site("gate", "from corral.plugin import CarriesCommands\nclass Site(CarriesCommands): ...\n")
    with pytest.raises(PluginError, match=r"plugin 'gate' .*abstract.* Site .*carry"):
        discovery.make_site("gate")


def test_a_whole_node_is_what_workers_have_and_what_is_charged(arguments: dict[str, Any]) -> None:
    """One core was asked for, and 150 MB; a limit of core-hours counts the node."""
    with Cluster(**arguments, n_workers=1, maximum_core_hours=100) as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        # It is written a second after a change.
        while not (entry := entries()[0]).asked:
            time.sleep(0.1)
        assert (entry.site, entry.site_options, entry.asked["default"].cores) == ("common", {}, 2)
        [worker] = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 2
        [job] = cluster.jobs
        assert job.expected_workers == 1
        [group] = list(cluster._shown.groups.values())
        assert group.resources.cores == 2


def test_a_launcher_is_told_of_a_site_that_does_something_there(install_site: Install) -> None:
    """Options, too: on a compute node, there may be no sign of the site. One that only completes requests is done."""
    wraps = """
    @hookimpl(wrapper=True)
    def read_allocation(self, environ):
        return (yield)
    """
    install_site("ranger", COMMON + textwrap.indent(textwrap.dedent(wraps), "    "))
    for name, there in (("ranger", ("ranger", {"gate": "west"})), ("common", (None, {}))):
        given = {"site": name, "site_options": {"gate": "west"}}
        command = draw(given).request("default", 1).command
        options = Options.parse([word for word in command if word.startswith("--")])
        assert (options.site, options.site_options) == there


@pytest.mark.parametrize("groups", [{}, {"groups": ["common.half"]}])
def test_a_scheduler_in_a_job_sees_the_same(
    arguments: dict[str, Any], groups: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Site, options and what a variable says here; whatever variables its node has."""
    draft = Draft.of({**arguments, **groups, "site_options": {"gate": "west"}})
    draft.order.write(tmp_path / "order")
    monkeypatch.delenv("COMMON_HOST")
    monkeypatch.setenv("COMMON_ACCOUNT", "gander")
    order = Order.read(tmp_path / "order")
    assert order == draft.order
    there = order.identify(draw(order.arguments, site_values=order.site_values))
    assert (there.site, there.site_options) == ("common", {"gate": "west"})
    assert there.settings.command_timeout == 77.0
    [name] = there.groups
    assert (there.groups[name].account, there.resources(name).cores) == ("goose", 2)
    assert there.resources(name) == draft.blueprint.resources(name)


def test_no_site_here_is_none_there(arguments: dict[str, Any]) -> None:
    """Also where the scheduler's node has a sign of one."""
    order = Draft.of({**arguments, "site": "none", "backend": "local", "memory": "200MB"}).order
    assert draw(order.arguments, site_values=order.site_values).site is None


def test_handles_speak_to_the_batch_system_as_the_site_does(arguments: dict[str, Any]) -> None:
    """A cluster whose scheduler is in a job, and who connects to it from a host without a sign of the site."""
    with Cluster(**arguments, name="flock", scheduler="job", scheduler_options={"memory": "200MB"}) as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1)
        with pytest.MonkeyPatch.context() as elsewhere:
            elsewhere.delenv("COMMON_HOST")
            handle = Cluster.connect("flock")
            assert handle.groups["default"].account == "goose"
            [entry] = [each for each in entries() if each.name == "flock"]
            assert (entry.site, entry.scheduler) == ("common", "job")
            handle.close()
        cluster.shutdown()


async def test_batch_mode_has_the_configured_options() -> None:
    """As a cluster has them: a site may need some."""
    with dask.config.set({"corral.site-options": {"gate": "west"}}):
        allocation = Allocation(interface="lo", asynchronous=True)
        assert allocation._site is not None
        assert allocation._site.options == {"gate": "west"}
        allocation = Allocation(interface="lo", site_options={"gate": "south"}, asynchronous=True)
        assert allocation._site is not None
        assert allocation._site.options == {"gate": "south"}


async def test_batch_mode_on_a_host_of_the_site(arguments: dict[str, Any]) -> None:
    """The site's own backend; a job of another one is no job of the site's, unless it is named."""
    async with Allocation(interface="lo", processes=1, asynchronous=True) as allocation:
        assert allocation._site is not None
        assert allocation.hosts
    async with Allocation(site=None, backend="local", interface="lo", processes=1, asynchronous=True) as allocation:
        assert allocation._site is None
    with pytest.raises(NoAllocation):
        await Allocation(backend="slurm", interface="lo", asynchronous=True)


def test_corral_submit_hands_the_site_to_its_job(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """Its workers are those of the site's job."""
    script = tmp_path / "script.py"
    script.write_text("import os; print('workers:', os.environ['CORRAL_WORKERS'])")
    directory = arguments["backend_options"]["directory"]
    words = ["submit", "--follow", "--site-option=gate=south", f"--backend-option=directory={directory}"]
    words += ["--backend-option=cores=8", "--backend-option=memory=32GB", "--scheduler-interface=lo", str(script)]
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli", *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, "workers: 1" in done.stdout) == (0, True), done.stdout + done.stderr
