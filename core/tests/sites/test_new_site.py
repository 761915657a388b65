"""What ``corral new-site`` writes is right for this host, and can be used at once."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from corral.cli import main
from corral.cli.new_site import Found, as_python, as_yaml, kinds_of, patterns
from corral.cli.schema import configuration_schema
from corral.plugin import NodeType, site_files, site_yaml
from corral.plugin.values import Queue
from corral.request import written_sites
from corral.text.sizes import bytes_in

QUEUES = [
    Queue(name="no", is_default=True, cores=128, memory=256 * 10**9, max_walltime=86_400, max_nodes=16),
    Queue(name="debug", cores=128, memory=256 * 10**9 + 1, max_walltime=1800),
    Queue(name="007", cores=64, memory=192 * 2**30, gpus=4, max_walltime=5400, min_nodes=2),
    Queue(name="staff", cores=4, accounts=("chief", "deputy")),
    Queue(name="dark", memory=10**9),
    Queue(name="closed\nqueue", cores=4, accepts_jobs=False),
    Queue(name="*", cores=1, max_walltime=61),
]


def found(queues: Sequence[Queue] = (), **more: str) -> Found:
    host, hosts = patterns(["login3", "login3.lagoon.example.org"])
    kinds = kinds_of(queues)
    return Found(
        name="lagoon", title="Lagoon", backend="local", hosts=hosts, host=host, interfaces=["ib0"], kinds=kinds, **more
    )


def use(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> list[NodeType]:
    """The kinds of nodes of a site that has no mistakes."""
    path.write_text(text)
    monkeypatch.setenv(site_files.VARIABLE, str(path))
    assert written_sites.problems_of("lagoon") == []
    description, _ = site_yaml.described("lagoon", site_files.read(os.environ))
    assert description is not None
    return list(description.nodes)


def test_queues_are_kinds_of_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In quotes where YAML would take the name for something else; no more of anything than there is."""
    nodes = use(tmp_path / "a.yaml", as_yaml(found(QUEUES)), monkeypatch)
    assert {node.name: node.queue for node in nodes} == {name: name for name in ("no", "debug", "007", "staff", "*")}
    by_name = {node.name: node for node in nodes}
    assert by_name["no"].memory == 256 * 10**9
    assert by_name["debug"].memory == 256 * 10**9
    assert by_name["007"].memory == 192 * 2**30
    assert [by_name[name].max_walltime for name in ("no", "debug", "007", "*")] == [86_400, 1800, 5400, 61]
    assert (by_name["007"].gpus, by_name["007"].min_nodes, by_name["no"].max_nodes) == (4, 2, 16)
    assert [name for name, node in by_name.items() if node.named_only] == ["staff", "debug"]


def test_what_is_not_known_is_a_comment() -> None:
    """Who reads it sees why."""
    text = as_yaml(found(QUEUES))
    assert "# - {name: dark, queue: dark, cores: FILL IN, memory: 1GB}" in text
    assert "# dark: FILL IN: the batch system does not say how many cores its nodes have" in text
    assert "# staff: takes jobs of these accounts alone: chief, deputy" in text
    assert r"# closed\nqueue: takes no jobs at present" in text
    assert r'# - {name: "closed\nqueue", queue: "closed\nqueue", cores: 4}' in text


def test_a_machine_that_says_nothing_is_a_skeleton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are all queues known in vain: a list of comments alone is no list."""
    text = as_yaml(found(problem="The queues of slurm could not be asked."))
    assert use(tmp_path / "a.yaml", text, monkeypatch) == []
    assert "# FILL IN: kinds of nodes. The queues of slurm could not be asked." in text
    assert use(tmp_path / "a.yaml", as_yaml(found([Queue(name="dark")])), monkeypatch) == []


@pytest.mark.parametrize("queues", [(), QUEUES])
def test_editors_agree(queues: Sequence[Queue]) -> None:
    """With the schema of the configuration, which knows each key of a site."""
    jsonschema: Any = pytest.importorskip("jsonschema")  # takes three seconds
    schema = configuration_schema()
    # YAML has dates, JSON has none.
    content = yaml.load(as_yaml(found(queues)), Loader=yaml.BaseLoader)
    site = content["corral"]["sites"]["lagoon"]
    for node in site.get("nodes", ()):
        node.update(
            {key: yaml.safe_load(node[key]) for key in ("cores", "gpus", "max-nodes", "min-nodes") if key in node}
        )
        node.update({key: True for key in ("named-only",) if key in node})
    jsonschema.validate(content, schema)
    for wrong in ({"bakend": "slurm"}, {"nodes": [{"name": "a"}]}, {"defaults": {"wall": 1}}, {"hosts": "a"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"corral": {"sites": {"lagoon": {**site, **wrong}}}}, schema)


def test_python_says_the_same() -> None:
    """In a template of a package."""
    words = as_python(found(QUEUES))
    assert ast.literal_eval(words["hosts"]) == ("login*.lagoon.example.org",)
    tree = ast.parse(f"nodes = (\n{words['nodes']}\n)")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [
        NodeType(**{each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}) for call in calls
    ]
    assert [node.name for node in made] == ["*", "no", "staff", "007", "debug"]
    assert made[1].memory == bytes_in("256GB")


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["login3", "login3.lagoon.example.org"], "login*.lagoon.example.org"),
        (["login3"], "login3"),
        (["head.example.org"], "head.example.org"),
        (["7.example.org"], "7.example.org"),
    ],
)
def test_a_pattern_is_for_hosts_of_this_domain_alone(names: list[str], pattern: str) -> None:
    """``login*`` would be everybody's."""
    assert patterns(names)[1] == [pattern]


# --- the command ------------------------------------------------------------------------------------------------


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, done.output
    return done.output


def test_the_file_is_used_as_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is made, and nobody else may write to it."""
    path = tmp_path / "new" / "site.yaml"
    old = os.umask(0)
    try:
        said = run("new-site", "lagoon", "--backend=local", f"--yaml={path}")
    finally:
        os.umask(old)
    assert f"export CORRAL_SITES={path}" in said
    assert path.stat().st_mode & 0o777 == 0o644
    monkeypatch.setenv(site_files.VARIABLE, str(path))
    assert "#CORRAL --memory=1GB" in run("script", "--site=lagoon", "--memory=1GB")


def test_a_batch_system_that_does_not_answer_leaves_a_skeleton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is said, on the screen and in the file."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "site.yaml"
    said = run("new-site", "lagoon", "--backend=slurm", f"--yaml={path}")
    assert "The queues of slurm could not be asked, its nodes are yours to describe: " in said
    assert "there is no 'sinfo' on PATH" in path.read_text() or "there is no 'scontrol' on PATH" in path.read_text()
    monkeypatch.setenv(site_files.VARIABLE, str(path))
    assert written_sites.problems_of("lagoon") == []


def test_nothing_is_written_where_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue that every machine has makes no site."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "SGE", "PBS", "OAR", "LSF"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("corral.batch.detection.traces", lambda environ: [])
    assert "Say which one lagoon has: --backend slurm" in run(
        "new-site", "lagoon", f"--yaml={tmp_path / 'site.yaml'}", code=2
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.symlink_to("nowhere")
    assert "already exists" in run("new-site", "lagoon", "--backend=local", f"--yaml={path}", code=2)
    assert "leave one of them out" in run(
        "new-site", "lagoon", "--backend=local", f"--yaml={path}", f"--directory={tmp_path / 'x'}", code=2
    )
    assert [each.name for each in tmp_path.iterdir()] == ["site.yaml"]
