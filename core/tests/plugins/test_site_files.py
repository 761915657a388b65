"""Sites that are written in YAML: read from wherever they are, and every mistake told with its line."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import dask.config
import pytest

from corral.errors import InvalidRequest
from corral.plugin import discovery, site_files, site_yaml
from corral.plugin.sites import DescribedSite, SiteDescription
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
KNOWN = ("walltime", "memory", "account", "interface", "queue", "cores", "gpus", "processes", "inherit_env")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the variable names; it is still to be written."""
    path = tmp_path / "sites.yaml"
    monkeypatch.setenv(site_files.VARIABLE, str(path))
    return path


def described(name: str = "lagoon") -> SiteDescription:
    description, problems = site_yaml.described(name, site_files.read(os.environ))
    assert problems == []
    assert description is not None
    return description


def problems(file: Path, text: str, name: str = "lagoon") -> list[str]:
    """What is wrong, without the file."""
    file.write_text(text)
    found = [str(each) for each in written_sites.problems_of(name, KNOWN)]
    return [each.removeprefix(f"{file}:").replace(f"corral.sites.{name}.", "") for each in found]


def site(lines: str) -> str:
    """A file in which these lines begin in line 5."""
    body = "".join(f"      {line}\n" for line in lines.splitlines())
    return f"corral:\n  sites:\n    lagoon:\n      backend: local\n{body}"


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
    [plugin] = discovery.written_sites()
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
    assert [plugin.name for plugin in discovery.written_sites()] == ["lagoon", "reef"]
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
        [plugin] = discovery.written_sites()
        assert plugin.distribution == str(path)
        with dask.config.set({"corral.sites.lagoon.checked": 7, "corral.sites.lagoon.hosts": "lagoon"}):
            said = [str(each) for each in written_sites.problems_of("lagoon", KNOWN)]
    assert said == [
        "this program: corral.sites.lagoon.hosts: 'lagoon', where a list of texts belongs: ['lagoon']",
        "this program: corral.sites.lagoon.checked: the number 7, where a text belongs. Write a text in quotes",
    ]


def test_a_variable_of_dasks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"DASK_CORRAL__SITES__LAGOON__BACKEND": "local", "DASK_CORRAL__SITES__LAGOON__HOSTS": "lagoon"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with dask.config.set(dask.config.collect_env(variables)):
        [said] = map(str, written_sites.problems_of("lagoon", KNOWN))
    assert said.startswith("the variable DASK_CORRAL__SITES__LAGOON__HOSTS: corral.sites.lagoon.hosts: 'lagoon'")


# --- what is wrong ----------------------------------------------------------------------------------------------


def test_three_mistakes_are_three_errors_with_lines(file: Path) -> None:
    """At once: who mends one does not meet the next one with the next try."""
    text = site("nodes:\n  - name: a\n    cors: 3\ndefaults: {walltime: soon}\nbackend-options: {}\nhosts: x")
    file.write_text(text)
    with pytest.raises(InvalidRequest) as refused:
        discovery.make_site("lagoon")
    with pytest.raises(InvalidRequest) as checked:
        written_sites.check("lagoon", KNOWN)
    assert "3 mistakes" in str(refused.value)
    assert f"{file}:7: corral.sites.lagoon.nodes[0].cors: there is no such key. Did you mean 'cores'?" in str(
        refused.value
    )
    lines = str(checked.value).splitlines()
    assert lines[0] == "site: 'lagoon' cannot be used. It has 4 mistakes:"
    assert [line.split(":")[1] for line in lines[1:]] == ["6", "7", "8", "10"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "hosts: lagoon",
            "5: hosts: 'lagoon', where a list of texts belongs: ['lagoon']",
        ),
        (
            "hosts: [no]",
            "5: hosts[0]: no is false to YAML, where a text belongs. Put it in quotes: 'no'",
        ),
        (
            "hosts:\n- a\n- 0123",
            "7: hosts[1]: 0123 is the number 83 to YAML, where a text belongs. Put it in quotes: '0123'",
        ),
        (
            "title: ''",
            "5: title: this text is empty. Leave the key out, or say something",
        ),
        (
            "title: {a: b}",
            "5: title: this has keys and values, where a text belongs. Write a text in quotes",
        ),
        (
            "titel: x",
            "5: titel: there is no such key. Did you mean 'title'?",
        ),
        (
            "environment: {on: x}",
            "5: environment[True]: True, to YAML, where a name belongs. Put it in quotes",
        ),
        (
            "nodes: {cores: 3}",
            "5: nodes: this has keys and values, where a list belongs: begin each kind of nodes with a dash",
        ),
        (
            "nodes: [x]",
            "5: nodes[0]: 'x', where keys and values belong: name, queue, cores, memory, gpus, max-walltime,"
            " min-nodes, max-nodes, whole, named-only, directives, skip",
        ),
        (
            "nodes: [{name: a}]",
            "5: nodes[0]: lacks cores: the most cores that a job may have of a node",
        ),
        (
            "nodes: [{name: a, cores: '4'}]",
            "5: nodes[0].cores: '4', where a whole number belongs, without quotes",
        ),
        (
            "nodes: [{name: a, cores: 010}]",
            "5: nodes[0].cores: 010 is the number 8 to YAML. Write 8 if that is meant",
        ),
        (
            "nodes: [{name: a, cores: 0}]",
            "5: nodes[0].cores: 0 is less than 1",
        ),
        (
            "nodes: [{name: a, cores: true}]",
            "5: nodes[0].cores: true, where a whole number belongs, without quotes",
        ),
        (
            "nodes: [{name: a, cores: 1, memory: 250}]",
            "5: nodes[0].memory: the number 250: that is 250 bytes. Is a unit missing? Write for example "
            "250GB (10^9 bytes) or 240GiB (2^30)",
        ),
        (
            "nodes: [{name: a, cores: 1, memory: GB}]",
            "5: nodes[0].memory: 'GB', which is no amount of memory; write for example 250GB (10^9 bytes) or"
            " 240GiB (2^30)",
        ),
        (
            "nodes: [{name: a, cores: 1, max-walltime: 12:30}]",
            "5: nodes[0].max-walltime: 12:30 is the number 750 to YAML: minutes or hours? Write for example "
            "12h, 7d or '00:30:00'",
        ),
        (
            "nodes: [{name: a, cores: 1, max-walltime: 480}]",
            "5: nodes[0].max-walltime: 480 has no unit: it is minutes to some batch systems and seconds to "
            "others; write for example 12h, 7d or '00:30:00'",
        ),
        (
            "nodes: [{name: a, cores: 1, whole: 'yes'}]",
            "5: nodes[0].whole: 'yes', which is neither true nor false",
        ),
        (
            "nodes: [{name: a, cores: 1}, {name: a, cores: 2}]",
            "5: nodes[1]: there are nodes named 'a' already",
        ),
        (
            "nodes: [{name: a, cores: 1, min-nodes: 4, max-nodes: 2}]",
            "5: nodes[0]: max-nodes is 2, which is less than min-nodes, 4",
        ),
        (
            "directives: ['#SBATCH --qos=a']",
            "5: directives[0]: '#SBATCH --qos=a' has a prefix, which corral adds: write '--qos=a'",
        ),
        (
            "options: {s: {required: true}}",
            "5: options.s: lacks help: what it is, and where its value is found",
        ),
        (
            "options: {s: {help: x, pattern: '('}}",
            "5: options.s.pattern: '(' is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "options: {s: {help: x, choices: [a], default: b}}",
            "5: options.s: the default 'b' is none of the choices: a",
        ),
        (
            "options: {s: {help: x, pattern: a+, default: b}}",
            "5: options.s: the default 'b' does not match the pattern 'a+'",
        ),
        (
            "defaults: {cor: 1}",
            "5: defaults.cor: there is no such argument here. Did you mean 'cores'?",
        ),
        (
            "defaults:\n  cores: 0\n  memory: 1MB",
            "6: defaults.cores: 0 is not a whole number of at least 1",
        ),
        (
            "required: {acount: x}",
            "5: required.acount: there is no such argument here. Did you mean 'account'?",
        ),
        (
            "required: {account: }",
            "5: required.account: nothing, where a text belongs. Write a text in quotes",
        ),
        (
            "groups: {gpu: {cores: 1, gpu: 2}}",
            "5: groups.gpu.gpu: there is no such argument here. GPUs per node of a job are gpus= here.",
        ),
        (
            "groups: {gpu: {processes: many}}",
            "5: groups.gpu.processes: 'many' is not a whole number of at least 1",
        ),
        (
            "groups: {gpu: 3}",
            "5: groups.gpu: the number 3, where keys and values belong",
        ),
        (
            "title: x\ntitle: y",
            "6: title: is said in the lines 5, 6, and YAML takes the last. Remove all but one",
        ),
        (
            "backend-options: {}\nbackend_options: {}",
            "6: backend_options: is said in the lines 5, 6, and YAML takes the last. Remove all but one",
        ),
    ],
)
def test_a_mistake_has_its_line_and_its_cure(file: Path, lines: str, said: str) -> None:
    """What YAML has made of a value is said where that is not what is written."""
    assert said == problems(file, site(lines))[0]


def test_the_backend_is_one_that_is_installed(file: Path) -> None:
    """And has these options."""
    [said] = problems(file, "corral: {sites: {lagoon: {backend: locl}}}")
    assert said.startswith("1: backend: no backend named 'locl'. Installed: ")
    assert said.endswith("Did you mean 'local'?")
    [said] = problems(file, site("backend-options: {arrys: false}"))
    assert said.startswith("5: backend-options.arrys: backend 'local' has no option 'arrys'.")
    [said] = problems(file, "corral: {sites: {lagoon: {title: x}}}")
    assert said == "1: corral.sites.lagoon: lacks backend: the batch system: slurm"


def test_what_the_user_s_variables_decide_is_not_judged(file: Path) -> None:
    assert problems(file, site("defaults: {account: $PROJECT, inherit_env: [NOT_SET_HERE], memory: $MUCH}")) == []


def test_a_name_that_is_no_text_is_told(file: Path) -> None:
    """``no`` is false to YAML, and so is a site called that."""
    file.write_text("corral: {sites: {no: {backend: local}}}")
    [plugin] = discovery.written_sites()
    with pytest.raises(InvalidRequest, match=r"sites.yaml:1: corral.sites\[False\]: this is no name of a site"):
        plugin.make({})


def test_anchors_and_merges_are_followed(file: Path) -> None:
    """What is taken over with ``<<`` is not said twice."""
    nodes = "nodes:\n  - &a {name: a, cores: 4}\n  - {<<: *a, name: b}\n  - {<<: *a, cores: no}"
    assert problems(file, site(nodes)) == [
        "8: nodes[2].cores: no is false to YAML, where a whole number belongs, without quotes",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "corral:\n  sites:\n    a: {hosts: [*.example.org]}",
            r":3: this is not YAML: .*must be in quotes: '\*.example.org'",
        ),
        ("corral:\n\tsites: {}", r":2: this is not YAML: found character '\\t'.*Indent with spaces, not with tabs"),
        ("corral:\n  sites: [", ":2: this is not YAML: "),
        ("- a", ":1: begins with .*, and not with `corral:`"),
        ("", ":1: has no names of sites below `corral:` and `sites:`"),
        ("corral: {sites: [a]}", ":1: has no names of sites below"),
        ("\ncorral: {sites: {\xff: 1}}", ":2: is not UTF-8"),
    ],
)
def test_files_that_cannot_be_read_are_told_once(
    file: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Other sites are as they were; who names one that is not there learns where it may have been."""
    file.write_bytes(text.encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        assert discovery.written_sites() == discovery.written_sites() == []
    assert len(caplog.records) == 1
    with pytest.raises(InvalidRequest, match=f"no site named 'lagoon'(.|\n)*Not read: {file}{said}"):
        discovery.make_site("lagoon")


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(InvalidRequest, match=f"{file}: No such file or directory; the variable CORRAL_SITES names it"):
        discovery.make_site("lagoon")


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
    [installed] = [plugin for plugin in discovery.usable("site") if plugin.distribution != str(file)]
    file.write_text(GOOD.replace("lagoon:", f"{installed.name}:"))
    [plugin] = discovery.usable("site")
    assert plugin.distribution == str(file)
    assert isinstance(discovery.make_site(installed.name, {"storage": "x"}), DescribedSite)
