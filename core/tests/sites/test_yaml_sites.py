"""A site in a YAML file is used wherever an installed one is, and missed nowhere else."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path

import dask.config
import pytest
from click.testing import CliRunner
from distributed import Client

from corral import Cluster
from corral.cli import main
from corral.cli.submit import _job, submit
from corral.cluster.registry import Entry
from corral.environment.program import Program
from corral.errors import InvalidRequest
from corral.plugin.site_files import VARIABLE
from corral.plugin.sites_here import site_here
from corral.remote.spec import take
from corral.request.drawing import draw
from corral.request.sites import site_and_settings

LAGOON = """\
corral:
  sites:
    lagoon:
      title: The Lagoon
      environment: {LAGOON_HOST: "*"}
      checked: 2026-11-29
      backend: local
      defaults: {walltime: 20 min, interface: lo, memory: 300MB, command-timeout: 90s}
      nodes:
        - {name: shallow, cores: 2, memory: 3GB, max-walltime: 30 min}
        - {name: deep, cores: 2, memory: 3GB, max-walltime: 2h}
      groups: {small: {cores: 1, memory: 200MB}}
"""


@pytest.fixture
def lagoon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be on a host of the Lagoon's."""
    path = tmp_path / "lagoon.yaml"
    path.write_text(LAGOON)
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("LAGOON_HOST", "lagoon1")
    return path


def test_it_is_found_by_its_host(lagoon: Path) -> None:
    """The finding says the file."""
    finding = site_here()
    assert finding is not None
    assert str(finding) == f"'lagoon' ({lagoon}: LAGOON_HOST=lagoon1)"
    blueprint = draw({"cores": 1})
    assert (blueprint.site, blueprint.backend) == ("lagoon", "local")
    assert blueprint.groups["default"].walltime_seconds == 1200
    assert draw({"site": "none", "backend": "local", "memory": "1GB"}).site is None


def test_its_groups_and_nodes_are_used(lagoon: Path) -> None:
    """As those of an installed site."""
    assert draw({"groups": ["lagoon.small"]}).resources("small").cores == 1
    with pytest.raises(InvalidRequest, match="The Lagoon has no node for this job: .*deep takes jobs of at most 2 h"):
        draw({"walltime": "3h"}).script()


def test_one_that_is_broken_says_how_to_do_without(lagoon: Path) -> None:
    """Somebody else may have broken it."""
    lagoon.write_text(LAGOON.replace("cores: 2", "cores: two", 1))
    with pytest.raises(InvalidRequest, match=rf"{lagoon}:10: (.|\n)*site=None turns it off"):
        draw({"memory": "1GB"})
    assert draw({"site": "none", "backend": "local", "memory": "1GB"}).site is None


def test_a_value_that_is_refused_later_has_its_line(lagoon: Path) -> None:
    """What depends on the host is known only there."""
    lagoon.write_text(LAGOON.replace("interface: lo", "scheduler-interface: ib7"))
    with pytest.raises(
        InvalidRequest, match=rf"'ib7', only .*\(corral.sites.lagoon.defaults.scheduler-interface in {lagoon}:8\)"
    ):
        draw({})


def test_a_job_does_not_need_the_file(lagoon: Path) -> None:
    """Its request was completed before it was submitted."""
    assert not [word for word in draw({}).request("default", 1).command if word.startswith("--site")]


def test_who_looks_after_a_cluster_does_not_need_it_either(lagoon: Path) -> None:
    """Without it, or when it is broken by now, jobs are cancelled all the same; with it, at its pace."""
    entry = Entry.of(draw({}))
    assert (entry.site, entry.site_is_needed) == ("lagoon", False)
    site, chosen = site_and_settings(entry.site, entry.site_options, is_needed=entry.site_is_needed)
    assert (site["site"], chosen.command_timeout) == ("lagoon", 90.0)
    for text in ("corral: [", LAGOON.replace("backend: local", "backend: lokal")):
        lagoon.write_text(text)
        assert site_and_settings(entry.site, {}, is_needed=False)[0] == {}
        with pytest.raises(InvalidRequest):
            site_and_settings(entry.site, {}, is_needed=True)


def test_options_of_the_backend_stay_without_the_site(lagoon: Path) -> None:
    """Its batch system would be another one otherwise."""
    lagoon.write_text(
        LAGOON.replace("backend: local", f"backend: local\n      backend-options: {{directory: {lagoon.parent}}}")
    )
    blueprint = draw({})
    assert Entry.of(blueprint).backend_options == {"directory": str(lagoon.parent)}
    options = f'--backend-options={{"directory": "{lagoon.parent}"}}'
    assert options in blueprint.request("default", 1).command


def test_a_scheduler_in_a_job_has_all_of_it(lagoon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is, there may be no such file."""
    _, order = take({"site": "lagoon", "cores": 1})
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(InvalidRequest, match="no site named 'lagoon'"):
        draw({"site": "lagoon"})
    with dask.config.set(order.configuration):
        assert draw(order.arguments, site_values=order.site_values).groups["default"].walltime_seconds == 1200


def test_a_date_in_the_configuration_travels(caplog: pytest.LogCaptureFixture) -> None:
    """YAML knows dates, JSON does not, and nobody is warned of that."""
    with dask.config.set({"corral.sites": {"lagoon": {"checked": datetime.date(2026, 11, 29)}}}):
        assert Program.running().configuration["corral"]["sites"]["lagoon"]["checked"] == "2026-11-29"
    assert not caplog.records


def test_a_cluster_runs_at_such_a_site(lagoon: Path) -> None:
    """Its jobs start, though the file is gone by then."""
    with (
        Cluster(cores=1, backend_options={"directory": str(lagoon.parent / "queue")}) as cluster,
        Client(cluster) as client,
    ):
        lagoon.unlink()
        cluster.scale(1)
        assert client.submit(os.getpid).result(timeout=60) != os.getpid()


def test_a_batch_job_is_told_what_the_file_says(lagoon: Path) -> None:
    """It may not see the file, nor the variable that names it."""
    options = submit.make_context("submit", [str(lagoon), "--worker-options", "{}"]).params
    command = _job(draw({"name": "x", "cores": 1}), ["x.py"], options).command
    assert {"--site=none", "--interface=lo"} <= set(command)
    with dask.config.set({"corral.interface": "eth0"}):
        command = _job(draw({"name": "x", "cores": 1, "worker_interface": "lo"}), ["x.py"], options).command
    assert not [word for word in command if word.startswith("--interface")], "the job reads that by itself"


def test_the_list_of_sites_has_all_mistakes(lagoon: Path) -> None:
    """With the file of each site, sound or not."""
    run = CliRunner().invoke
    assert re.search(rf"lagoon\* +The Lagoon +{re.escape(str(lagoon))} +local", run(main, ["sites"]).output)
    lagoon.write_text(LAGOON.replace("cores: 2", "cores: two", 1).replace("20 min", "2O min"))
    listed = run(main, ["sites"])
    assert listed.exit_code == 0
    for where in ("8: corral.sites.lagoon.defaults.walltime", "10: corral.sites.lagoon.nodes[0].cores"):
        assert f"{lagoon}:{where}: " in listed.output
        assert f"{lagoon}:{where}: " in run(main, ["sites", "lagoon"]).output
    assert run(main, ["sites", "lagoon"]).exit_code == 2
