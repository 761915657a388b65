"""Sites that are written in YAML: read from wherever they are, and every mistake told with its line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.config
import pytest

from corral.errors import InvalidRequest
from corral.plugin import discovery, site_files, site_yaml
from corral.plugin.sites import DescribedSite, SiteDescription
from corral.plugin.written_sites import as_if_installed
from corral.request import written_sites

GOOD = """\
corral:
  sites:
    lagoon:
      title: The Lagoon
      hosts: ["lagoon*.example.org"]
      environment: {LAGOON: "*"}
      sources: [docs.example.org]
      checked: 2026-11-29
      backend: local
      defaults: {interface: ib0, walltime: 4h}
      required: {account: "`projects` lists yours"}
      nodes:
        - {name: compute, queue: main, cores: 128, memory: 250GB, max-walltime: 8h, whole: true}
        - name: gpu
          cores: 32
          gpus: 4
          max_walltime: 12:30:00
      directives: ["--qos=normal"]
      skip: [memory]
      options: {storage: {help: "Which storage", required: true, directives: ["-l storage={value}"]}}
      groups: {gpu: {cores: 32, gpus: 1, memory: 100GB}}
      advice: ["Ask for
        whole nodes."]
"""


def described(name: str = "lagoon") -> SiteDescription:
    description, problems = site_yaml.described(name, site_files.read(os.environ))
    assert problems == []
    assert description is not None
    return description


# --- what is read -----------------------------------------------------------------------------------------------


def test_a_file_says_what_python_would(file: Path) -> None:
    """Keys may have dashes or underscores; what YAML takes for a date or for seconds is what was meant."""
    file.write_text(GOOD)
    found = described()
    assert found.facts.title == "The Lagoon"
    assert found.facts.checked == "2026-11-29"
    assert found.facts.evidence(["lagoon3.example.org"], {})
    assert found.nodes[0].memory == 250 * 10**9
    assert [node.max_walltime for node in found.nodes] == [8 * 3600, 45_000]
    assert found.skip == {"memory"}
    assert found.options["storage"].directives == ("-l storage={value}",)
    assert found.advice == ("Ask for whole nodes.",)
    assert found.groups["gpu"]["memory"] == "100GB"
    [plugin] = as_if_installed()
    made = plugin.make({"storage": "gdata"})
    assert isinstance(made, DescribedSite)
    assert (plugin.name, plugin.distribution, made.backend) == ("lagoon", str(file), "local")


def test_folders_hold_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two files that speak of one site, the later one is heard, as in Dask's folders."""
    first, last = tmp_path / "first", tmp_path / "last.yml"
    first.mkdir()
    (first / "a.yaml").write_text(GOOD)
    (first / "b.yaml").write_text(GOOD.replace("lagoon:", "reef:"))
    (first / "notes.txt").write_text("{")
    last.write_text("corral: {sites: {lagoon: {title: Mine, defaults: {walltime: 1h}}}}")
    monkeypatch.setenv(site_files.VARIABLE, f"{first}{os.pathsep}{last}{os.pathsep}")
    assert [plugin.name for plugin in as_if_installed()] == ["lagoon", "reef"]
    assert described().facts.title == "Mine"
    assert described().defaults == {"interface": "ib0", "walltime": "1h"}
    assert described("reef").facts.title == "The Lagoon"


def test_dasks_configuration_counts_as_it_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program says wins, and what is wrong in it is not said to be a file's."""
    path = tmp_path / "corral.yaml"
    path.write_text(GOOD)
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
        assert described().facts.title == "The Lagoon"
        [plugin] = as_if_installed()
        assert plugin.distribution == str(path)
        with dask.config.set({"corral.sites.lagoon.checked": 7, "corral.sites.lagoon.hosts": "lagoon"}):
            said = [str(each) for each in written_sites.problems_of("lagoon")]
    assert said == [
        "this program: corral.sites.lagoon.hosts: 'lagoon', where a list of texts belongs: ['lagoon']",
        "this program: corral.sites.lagoon.checked: the number 7, where a text belongs. Write a text in quotes",
    ]


def test_a_variable_of_dasks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"DASK_CORRAL__SITES__LAGOON__BACKEND": "local", "DASK_CORRAL__SITES__LAGOON__HOSTS": "lagoon"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with dask.config.set(dask.config.collect_env(variables)):
        [said] = map(str, written_sites.problems_of("lagoon"))
    assert said.startswith("the variable DASK_CORRAL__SITES__LAGOON__HOSTS: corral.sites.lagoon.hosts: 'lagoon'")


# --- who may have written it ------------------------------------------------------------------------------------


def test_what_others_can_write_is_not_followed(file: Path) -> None:
    """It says what the user's jobs run."""
    file.write_text(GOOD)
    file.chmod(0o666)
    with pytest.raises(InvalidRequest, match="mode 0666: everybody could change what it says.*chmod go-w"):
        discovery.make_site("lagoon")
    file.chmod(0o644)
    file.parent.chmod(0o777)
    with pytest.raises(InvalidRequest, match="mode 0777: everybody could replace"):
        discovery.make_site("lagoon")
    file.parent.chmod(0o700)
    discovery.make_site("lagoon", {"storage": "x"})


def test_nor_in_dasks_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which Dask has read all the same."""
    path = tmp_path / "corral.yaml"
    path.write_text(GOOD)
    path.chmod(0o622)
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with (
        dask.config.set(dask.config.collect([str(tmp_path)], env={})),
        pytest.raises(InvalidRequest, match="corral.yaml: has mode 0622: everybody could change"),
    ):
        discovery.make_site("lagoon")


def test_links_lead_to_what_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A centre's file may be a link, and what it leads to must be nobody else's either."""
    there, here = tmp_path / "there", tmp_path / "here.yaml"
    there.mkdir()
    (there / "a.yaml").write_text(GOOD)
    here.symlink_to("there/a.yaml")
    monkeypatch.setenv(site_files.VARIABLE, str(here))
    discovery.make_site("lagoon", {"storage": "x"})
    there.chmod(0o777)
    with pytest.raises(InvalidRequest, match="there has mode 0777"):
        discovery.make_site("lagoon")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_the_file_of_somebody_who_was_named_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A centre's software belongs to an account of its own; where anybody can put files, nobody was named."""
    folder = tmp_path / "software"
    folder.mkdir()
    path = folder / "a.yaml"
    path.write_text(GOOD)
    monkeypatch.setenv(site_files.VARIABLE, str(path))
    for each in (folder, path):
        os.chown(each, 12345, 12345)
    discovery.make_site("lagoon", {"storage": "x"})
    os.chown(folder, 0, 0)
    folder.chmod(0o1777)
    with pytest.raises(InvalidRequest, match="belongs to uid 12345, and is where everybody can put files"):
        discovery.make_site("lagoon")


# --- beside what is installed -----------------------------------------------------------------------------------


def test_a_file_takes_the_place_of_what_is_installed(file: Path, install: Any) -> None:
    """It is nearer to the machine than what was published for it."""
    install("acme", "site")
    [installed] = [plugin for plugin in discovery.usable("site") if plugin.name == "barn"]
    file.write_text(GOOD.replace("lagoon:", f"{installed.name}:"))
    [plugin] = [each for each in discovery.usable("site") if each.name == installed.name]
    assert plugin.distribution == str(file)
    assert isinstance(discovery.make_site(installed.name, {"storage": "x"}), DescribedSite)


# --- how often --------------------------------------------------------------------------------------------------


def test_a_file_is_parsed_when_it_has_changed_and_only_then(file: Path) -> None:
    """One cluster asks several times. What a program makes of the answer is not the file's."""
    file.write_text(GOOD)
    first, second = site_files.read(os.environ), site_files.read(os.environ)
    assert first.sources[0] is second.sources[0]
    first.sites["lagoon"]["defaults"]["walltime"] = "1h"
    assert described().defaults["walltime"] == "4h"
    file.write_text(GOOD.replace("4h", "5h"))
    assert described().defaults["walltime"] == "5h"
