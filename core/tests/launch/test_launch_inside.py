"""Launchers in containers, and behind other words: on each node, with the batch system's commands outside."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.tests.launch.test_launch_elsewhere import PRETEND, environments, launch
from corral.launch.ending import Ended
from corral.launch.runtimes import Inside, forced_variables, launch_words
from corral.plugin.values import Job
from corral.request.worker_group import JOB_ENVIRONMENT

if TYPE_CHECKING:
    from core.tests.launch.conftest import Cluster

#: A runtime that notes its words, and then runs what is to be run in an image: that has another environment, in which
#: the batch system says nothing. Apptainer's takes most variables along, podman's those that are named.
RUNTIME = """\
#!{python}
import json, os, sys
words = sys.argv[1:]
with open({record!r}, "a") as file:
    file.write(json.dumps(words) + "\\n")
end = words.index({image!r}) + 1
names = [word.removeprefix("--env=") for word in words[:end] if word.startswith("--env=")]
taken = dict(os.environ) if {takes_all} else {{name: os.environ[name] for name in names}}
prefix = "APPTAINERENV_"
taken |= {{"OMP_NUM_THREADS": "7", "PRETEND_ALLOCATION": "/not/in/the/image", "IN_IMAGE": "yes"}}
taken |= {{name.removeprefix(prefix): os.environ[name] for name in os.environ if name.startswith(prefix)}}
for name in names:
    taken[name] = os.environ[name]
taken["PATH"] = "/usr/bin:/bin"
os.execve(words[end], words[end:], taken)
"""


def runtime(directory: Path, name: str, image: str) -> tuple[Path, Path]:
    """A folder with a runtime of this name, and the file in which it notes its words, a line each time."""
    tool, record = directory / "bin" / name, directory / "record.jsonl"
    tool.parent.mkdir()
    takes_all = name != "podman-hpc"
    tool.write_text(RUNTIME.format(python=sys.executable, record=str(record), image=image, takes_all=takes_all))
    tool.chmod(0o755)
    return tool.parent, record


def recorded(record: Path) -> list[list[str]]:
    return [json.loads(line) for line in record.read_text().splitlines()]


@pytest.mark.parametrize("name", ["apptainer", "podman-hpc"])
async def test_every_node_has_its_container(cluster: Cluster, name: str) -> None:
    """One script of two nodes: its commands run outside, once on each node there is a container with a worker."""
    image = cluster.directory / "image.sif"
    image.touch()
    folder, record = runtime(cluster.directory, name, str(image))
    verb = "exec" if name == "apptainer" else "run"
    inside = Inside(
        prefix=[name, verb, "--mine=$OF_NODE"],
        image=str(image),
        python=[sys.executable],
        variables=[*JOB_ENVIRONMENT, "MINE", "PYTHONPATH"],
    )
    prologue = [f"export PATH={folder}:$PATH ONLY_OUTSIDE={shlex.quote(str(cluster.directory))}"]
    job = Job(environment={"MINE": "for tasks"}, prologue=prologue)

    launched = await launch(
        cluster, job, f"--inside={json.dumps(inside.written())}", "--local-directory=$ONLY_OUTSIDE/spilled"
    )
    seen = await environments(cluster)
    await cluster.nanny("8-1").corral_retire(reason="test")
    code, log = await launched.end()

    assert code == 0, log
    assert [each["IN_IMAGE"] for each in seen] == ["yes", "yes"]
    assert [each["MINE"] for each in seen] == ["for tasks", "for tasks"]
    # What the job says wins over the image.
    assert [each["OMP_NUM_THREADS"] for each in seen] == ["1", "1"]
    words = recorded(record)
    assert len(words) == 2
    assert [each[:2] for each in words] == [[verb, "--mine=own"]] * 2
    knows = [
        json.loads(word.removeprefix("--allocation=")) for each in words for word in each if "--allocation=" in word
    ]
    assert sorted(each["node_index"] for each in knows) == [0, 1]
    shared = str(cluster.path.parent)
    assert all({f"--bind={shared}", f"--volume={shared}:{shared}"} & set(each) for each in words)
    assert not any("for tasks" in word for each in words for word in each)
    assert log.count(f"corral: job 8 goes on as: {name} {verb} --mine=own ") == 2


async def test_a_job_of_one_node_knows_in_its_container_what_it_was_granted(cluster: Cluster) -> None:
    """When it ends, which attempt it is, its GPUs: asked outside, where the commands are."""
    image = cluster.directory / "image.sif"
    image.touch()
    folder, record = runtime(cluster.directory, "apptainer", str(image))
    allocation = cluster.directory / "allocation.json"
    allocation.write_text(json.dumps({"job_id": "9", "hosts": ["known-as-a"], "attempt": 2, "gpus": ["5"]}))
    inside = Inside(image=str(image), python=[sys.executable])

    await cluster.start(
        "--backend=pretend",
        "--gpus=1",
        f"--inside={json.dumps(inside.written())}",
        job="9",
        PYTHONPATH=PRETEND,
        PRETEND_ALLOCATION=str(allocation),
        PATH=f"{folder}:{os.environ['PATH']}",
    )
    await cluster.report("ready", "9")

    [seen] = await environments(cluster)
    assert cluster.names == {"9.r2-0"}
    assert seen["CUDA_VISIBLE_DEVICES"] == "5"
    [words] = recorded(record)
    assert words[0] == "exec"
    assert f"--bind={cluster.launched[0].directory}" in words


async def test_words_before_this_python(cluster: Cluster) -> None:
    """No container: numactl, say."""
    inside = Inside(prefix=["env", "BEHIND=$HOME"], python=[sys.executable])
    launched = await cluster.connect(f"--inside={json.dumps(inside.written())}", HOME="/home/of/node")

    [seen] = await environments(cluster)
    await cluster.nanny("77_0-0").corral_retire(reason="test")
    code, log = await launched.end()

    assert seen["BEHIND"] == "/home/of/node"
    assert code == 0, log


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        (
            Inside(image="/no/image.sif", python=["python3"], prefix=["apptainer", "exec"]),
            "/no/image.sif, the image of container=, is not on",
        ),
        (Inside(image="docker://a", python=["python3"]), "neither apptainer nor singularity"),
        (Inside(prefix=["no-such-command"], python=["python3"]), "cannot start no-such-command"),
        (Inside(prefix=["env", "A=$NOT_SET_HERE"], python=["python3"]), "NOT_SET_HERE is not set here"),
    ],
)
async def test_what_a_node_lacks_is_said(cluster: Cluster, inside: Inside, said: str) -> None:
    launched = await cluster.start(f"--inside={json.dumps(inside.written())}", PATH="/usr/bin:/bin")
    code, log = await launched.end()
    assert code in (1, 2)
    assert said in log


def test_words_for_apptainer(tmp_path: Path) -> None:
    """With GPUs, what their drivers need, unless that was said; what it shares anyway is not bound again."""
    (tmp_path / "nvidiactl").touch()
    (tmp_path / "kfd").touch()
    inside = Inside(prefix=["/opt/bin/apptainer", "exec", "--rocm"], image="docker://a", python=["python3"])
    words = launch_words(inside, ["/shared", "/tmp"], {}, gpus=1, devices=tmp_path)
    assert shlex.join(words) == "/opt/bin/apptainer exec --rocm --bind=/shared --nv docker://a python3"
    assert "--nv" not in launch_words(inside, [], {}, devices=tmp_path)


def test_words_for_podman(tmp_path: Path) -> None:
    """Variables by their names: everybody can read a command line."""
    (tmp_path / "nvidiactl").touch()
    inside = Inside(prefix=["podman-hpc", "run"], image="a:1", python=["python3"], variables=["TOKEN", "UNSET"])
    words = launch_words(inside, ["/shared"], {"TOKEN": "x", "TMPDIR": "/s"}, gpus=1, devices=tmp_path)
    here = os.getcwd()
    assert words == [
        *("podman-hpc", "run", "--gpu", "--rm", "--network=host", "--volume=/shared:/shared"),
        *(f"--volume={here}:{here}", "--env=TOKEN", "--env=TMPDIR", f"--workdir={here}", "a:1", "python3"),
    ]


@pytest.mark.parametrize(
    "said",
    [
        ["--volume=/else:/shared:ro"],
        ["-v", "/else:/shared/"],
        ["--mount=type=bind,source=/else,target=/shared"],
        ["--mount", "type=bind,src=/else,dst=/shared,ro"],
    ],
)
def test_podman_is_given_nothing_twice(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would refuse it. Where something is mounted counts, not what: `/else` has no place of its own before."""
    monkeypatch.chdir(tmp_path)
    inside = Inside(prefix=["podman", "run", *said], image="a:1", python=["python3"])
    words = launch_words(inside, ["/shared", "/else", str(tmp_path)], {})
    added = words[words.index("--network=host") :]
    assert [word for word in added if "--volume" in word] == ["--volume=/else:/else", f"--volume={tmp_path}:{tmp_path}"]


@pytest.mark.parametrize(("runtime", "folder"), [("apptainer", "/a,b"), ("singularity", "/a:b"), ("podman", "/a:b")])
def test_what_a_runtime_would_take_for_two_folders_is_refused(runtime: str, folder: str) -> None:
    prefix = {"podman": ["podman", "run"]}.get(runtime, [runtime, "exec"])
    inside = Inside(prefix=prefix, image="docker://a", python=["python3"])
    with pytest.raises(Ended, match=f"cannot have {folder} because of the .* shared_directory="):
        launch_words(inside, [folder], {})


def test_words_for_shifter() -> None:
    inside = Inside(prefix=["shifter", "--module=gpu"], image="docker:a:1", python=["python"])
    assert launch_words(inside, ["/shared"], {}) == ["shifter", "--module=gpu", "--image=docker:a:1", "python"]


def test_the_older_name_is_taken_where_only_that_is(tmp_path: Path) -> None:
    """And its variables are called after it."""
    (tmp_path / "singularity").touch(0o755)
    inside = Inside(image="docker://a", python=["python3"], variables=["A", "B"])
    environ = {"PATH": str(tmp_path), "A": "1", "B": "$(evaluated by a shell)"}
    words = launch_words(inside, [], environ)
    assert words == ["singularity", "exec", "docker://a", "python3"]
    assert forced_variables(inside, words, environ) == {"SINGULARITYENV_A": "1"}
    with pytest.raises(Ended, match="neither apptainer nor singularity"):
        launch_words(inside, [], {"PATH": "/nowhere"})
