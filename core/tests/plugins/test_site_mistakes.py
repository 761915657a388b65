"""Every mistake in a site that is written in YAML is told at once, with its line and its cure."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from corral.errors import InvalidRequest
from corral.plugin import discovery
from corral.plugin.written_sites import as_if_installed
from corral.request import written_sites
from corral.request.drawing import draw


def problems(file: Path, text: str, name: str = "lagoon") -> list[str]:
    """What is wrong, without the file."""
    file.write_text(text)
    found = [str(each) for each in written_sites.problems_of(name)]
    return [each.removeprefix(f"{file}:").replace(f"corral.sites.{name}.", "") for each in found]


def site(lines: str) -> str:
    """A file in which these lines begin in line 5."""
    body = "".join(f"      {line}\n" for line in lines.splitlines())
    return f"corral:\n  sites:\n    lagoon:\n      backend: local\n{body}"


def test_three_mistakes_are_three_errors_with_lines(file: Path) -> None:
    """At once: who mends one does not meet the next one with the next try."""
    file.write_text(site("hosts: x\nnodes:\n  - {name: a, cores: 4, memory: 250}\ndefaults: {walltime: soon}"))
    with pytest.raises(InvalidRequest) as refused:
        draw({"site": "lagoon", "memory": "1GB"})
    first, *lines = str(refused.value).splitlines()
    assert first == "site: 'lagoon' cannot be used. It has 3 mistakes:"
    assert [line.split(": ")[:2] for line in lines] == [
        [f"  {file}:5", "corral.sites.lagoon.hosts"],
        [f"  {file}:7", "corral.sites.lagoon.nodes[0].memory"],
        [f"  {file}:8", "corral.sites.lagoon.defaults.walltime"],
    ]
    with pytest.raises(InvalidRequest, match="It has 2 mistakes"):
        discovery.make_site("lagoon")


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
    folders = "shared-directory: $SCRATCH, local-directory: $TMPDIR"
    assert problems(file, site(f"defaults: {{account: $PROJECT, inherit_env: [NOT_SET_HERE], {folders}}}")) == []


def test_a_variable_where_none_is_looked_up_is_a_mistake(file: Path) -> None:
    """It would be one for each user, and be told with each cluster."""
    [said] = problems(file, site("defaults: {memory: $MUCH}"))
    assert said.startswith("5: defaults.memory: '$MUCH' is not an amount of memory")


def test_a_name_that_is_no_text_is_told(file: Path) -> None:
    """``no`` is false to YAML, and so is a site called that."""
    file.write_text("corral: {sites: {no: {backend: local}}}")
    [plugin] = as_if_installed()
    with pytest.raises(InvalidRequest, match=r"sites.yaml:1: corral.sites\[False\]: this is no name of a site"):
        plugin.make({})


@pytest.mark.parametrize("name", ["auto", "none"])
def test_words_of_the_argument_are_no_names(file: Path, name: str) -> None:
    """They would never be found."""
    [said] = problems(file, f"corral: {{sites: {{{name}: {{backend: local}}}}}}", name)
    assert f"no site can be called {name}" in said


def test_who_wants_one_thing_otherwise_learns_where_that_belongs(file: Path, install: Any) -> None:
    """An installed site is not continued in a file, it is replaced."""
    install("acme", "site")
    [installed] = [each for each in discovery.usable("site") if each.name == "barn"]
    said = problems(file, f"corral: {{sites: {{{installed.name}: {{defaults: {{walltime: 1h}}}}}}}}", installed.name)
    assert any("takes the place of the installed site of its name" in each for each in said)


def test_what_is_no_file_is_not_waited_for(file: Path) -> None:
    """A pipe would never end."""
    os.mkfifo(file)
    with pytest.raises(InvalidRequest, match="is not a regular file"):
        discovery.make_site("lagoon")


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
        assert as_if_installed() == as_if_installed() == []
    assert len(caplog.records) == 1
    with pytest.raises(InvalidRequest, match=f"no site named 'lagoon'(.|\n)*Not read: {file}{said}"):
        discovery.make_site("lagoon")


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(InvalidRequest, match=f"{file}: No such file or directory; the variable CORRAL_SITES names it"):
        discovery.make_site("lagoon")
