"""``container=`` and ``launch_prefix=``: what they may be, and the scripts that they make."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from corral.cli import main
from corral.errors import InvalidRequest
from corral.remote.spec import Draft
from corral.request.blueprint import Blueprint
from corral.request.drawing import draw
from corral.request.worker_group import JOB_ENVIRONMENT, WorkerGroup

BACKENDS = ("flux", "htcondor", "local", "lsf", "moab", "oar", "pbs", "sge", "slurm", "torque")
#: Of which a job has one node.
SINGLE = ("htcondor", "local")
#: What depends on the site.
SITE = {
    "sge": {"memory_resource": "h_vmem", "multi_node_environment": "mpi-{cores}"},
    "oar": {"memory_property": "memcore"},
}


def what_it_becomes(group: WorkerGroup) -> dict[str, Any]:
    """What the launchers of this group are told to become on their nodes."""
    arguments = group.launcher_arguments("default", group.resources, group.walltime_seconds)
    [told] = [word.removeprefix("--inside=") for word in arguments if word.startswith("--inside=")]
    found = json.loads(told)
    assert isinstance(found, dict)
    return found


def commands(blueprint: Blueprint) -> list[str]:
    """The lines of a job's script that run something of corral's, with dots for options that are not of interest."""
    found = []
    for line in str(blueprint.script()).splitlines():
        # As `exec …`, `… &`, or what an export says.
        with suppress(ValueError):
            words = shlex.split(line.removeprefix("export CORRAL_COMMAND=").removesuffix(" &").removeprefix("exec "))
            words = shlex.split(words[0]) if len(words) == 1 else words
            if "corral.launch" in words:
                end = words.index("corral.launch") + 1
                found.append(shlex.join([*words[:end], *(word for word in words[end:] if "inside" in word)]))
    return found


#: The same for every batch system: what differs between them is outside.
GOLDEN = """\
{python} -P -m corral.launch '--inside={{"prefix": ["apptainer", "exec", "--bind=/data"], \
"image": "/shared/image.sif", "python": ["python3"], "variables": ["PYTHONHASHSEED", "OMP_NUM_THREADS", \
"MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_", "MODE"]}}'"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_scripts_with_a_container(backend: str) -> None:
    """This Python asks the batch system, outside; what it becomes on each node is an option."""
    nodes = 1 if backend in SINGLE else 2
    blueprint = draw(
        {
            "backend": backend,
            "backend_options": SITE.get(backend, {}),
            "cores": 4,
            "memory": "8GB",
            "nodes": nodes,
            "container": "/shared/image.sif",
            "launch_prefix": ["apptainer", "exec", "--bind=/data"],
            "env": {"MODE": "test"},
        }
    )
    golden = GOLDEN.format(python=sys.executable)
    # Of several nodes, the other ones must run the same.
    assert commands(blueprint) == [golden] * nodes


def test_python_is_that_of_the_image() -> None:
    """With what must be the same inside, and `python=` for another one."""
    group = WorkerGroup(memory="1GB", container="docker://a/b:1", env={"MINE": 1})
    assert what_it_becomes(group) == {
        "image": "docker://a/b:1",
        "python": ["python3"],
        "variables": [*JOB_ENVIRONMENT, "MINE"],
    }
    group = WorkerGroup(memory="1GB", container="docker://a/b:1", python="/opt/bin/python")
    assert what_it_becomes(group)["python"] == ["/opt/bin/python"]


def test_the_script_runs_this_python() -> None:
    """Whatever runs inside, and without activating anything for it."""
    for inside in ({"container": "docker://a"}, {"launch_prefix": ["numactl"], "python": "/else/python"}):
        job = WorkerGroup(memory="1GB", **inside).request(name="a", log_directory=None, launcher_options=())
        assert job.command[:4] == (sys.executable, "-P", "-m", "corral.launch")
        assert not job.prologue


def test_words_before_a_python_of_the_nodes() -> None:
    """No container: the Python that would have been without them."""
    assert what_it_becomes(WorkerGroup(memory="1GB", launch_prefix=("numactl", "-i0")))["python"] == [sys.executable]
    group = WorkerGroup(memory="1GB", launch_prefix=["numactl"], conda_env="mine")
    assert what_it_becomes(group)["python"] == ["python"]
    assert any("conda activate mine" in line for line in group.request(
        name="a", log_directory=None, launcher_options=()
    ).prologue)  # fmt: skip


def test_an_image_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs need not start here; ``$`` means this host's variables."""
    (tmp_path / "image.sif").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGES", "/shared/images")
    for given, image in (
        ("image.sif", f"{tmp_path}/image.sif"),
        (tmp_path / "image.sif", f"{tmp_path}/image.sif"),
        ("$IMAGES/a.sif", "/shared/images/a.sif"),
        ("/on/the/nodes.sif", "/on/the/nodes.sif"),
        ("docker-archive:image.tar", "docker-archive:image.tar"),
    ):
        assert WorkerGroup(memory="1GB", container=given).container == image
    group = WorkerGroup(memory="1GB", container="library/image:1", launch_prefix=["shifter"])
    assert group.container == "library/image:1"


@pytest.mark.parametrize(
    ("arguments", "argument", "said"),
    [
        ({"container": "no-such.sif"}, "container", "no-such.sif is not there"),
        ({"container": "$NO_SUCH_VARIABLE/a.sif"}, "container", "NO_SUCH_VARIABLE is not set"),
        ({"container": " "}, "container", "is empty"),
        ({"container": "docker://a", "conda_env": "mine"}, "conda_env", "outside of the container"),
        ({"container": "a", "launch_prefix": ["charliecloud"]}, "launch_prefix", "leave container= out"),
        ({"container": "a", "launch_prefix": ["podman-hpc", "--gpu"]}, "launch_prefix", "add 'run'"),
        ({"launch_prefix": "apptainer exec --nv a.sif"}, "launch_prefix", "['apptainer', 'exec', '--nv', 'a.sif']"),
        ({"launch_prefix": 3}, "launch_prefix", "is not a list of words"),
        ({"launch_prefix": ["a", ""]}, "launch_prefix", "is empty"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], argument: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        WorkerGroup(memory="1GB", **arguments)
    assert raised.value.argument == argument
    assert said in str(raised.value)


def test_a_scheduler_in_a_job_stays_outside() -> None:
    """It submits jobs; its Python is the one that made the cluster, not the image's."""
    draft = Draft.of({
        "backend": "slurm", "memory": "1GB", "container": "docker://a", "python": "/opt/image/python",
        "scheduler": "job",
    })  # fmt: skip
    assert draft.job.command[:4] == (sys.executable, "-P", "-m", "corral.remote")
    assert not any("docker://a" in word for word in draft.job.command)
    assert draft.order.arguments["container"] == "docker://a"


@pytest.mark.parametrize("option", ["--container=docker://a", "--launch-prefix=numactl"])
def test_a_script_that_is_submitted_has_its_workers_outside(option: str, tmp_path: Path) -> None:
    """Refused, rather than left out without a word."""
    (script := tmp_path / "script.py").touch()
    done = CliRunner().invoke(main, ["submit", "--backend=slurm", "--memory=1GB", option, str(script)])
    assert done.exit_code == 2
    assert "give it to a Cluster that a program of yours makes" in done.output
