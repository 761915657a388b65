"""Notebooks, configuration, and the command itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.config
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from corral.cli import main
from corral.errors import InvalidRequest
from corral.migration.files import migrate
from corral.migration.values import Migrated
from corral.request.drawing import draw

CALL = "from dask_jobqueue import SLURMCluster\ncluster = SLURMCluster(cores=1, memory='1GB')\n"


def lost(found: Migrated) -> list[str]:
    return [str(remark) for remark in found.remarks if remark.is_lost]


# --- notebooks --------------------------------------------------------------------------------------------------


def cell(source: str, kind: str = "code") -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "outputs": [{"text": "é"}], "source": source.splitlines(keepends=True)}


def notebook(*cells: dict[str, Any]) -> str:
    return json.dumps({"cells": list(cells), "metadata": {"kernelspec": {"name": "k"}}, "nbformat": 4}, indent=1) + "\n"


def test_a_notebook_is_one_program() -> None:
    """Names go from cell to cell; what is no Python, and what was printed, stays."""
    before = notebook(
        cell("# SLURMCluster(", "markdown"),
        cell("%matplotlib inline\nfrom dask_jobqueue import SLURMCluster\n!pip list\n"),
        cell("%%time\nif x:\n    %run y\ncluster = SLURMCluster(cores=1,\n  memory='1GB')\ncluster?"),
        cell("%%bash\nfrom dask_jobqueue import nothing"),
        cell("cluster.job_header\nawait client"),
    )
    found = migrate(before, "my.ipynb")
    was, now = json.loads(before), json.loads(found.text)
    assert "".join(now["cells"][1]["source"]) == "%matplotlib inline\nfrom corral import Cluster\n!pip list\n"
    assert "".join(now["cells"][2]["source"]) == (
        "%%time\nif x:\n    %run y\n"
        'cluster = Cluster(backend="slurm", cores=1, memory=\'1GB\', walltime="00:30:00")\ncluster?'
    )
    for changed in (1, 2):
        now["cells"][changed]["source"] = was["cells"][changed]["source"]
    assert now == was
    assert [remark.partition(": cluster.job_script")[0][:32] for remark in lost(found)] == [
        "my.ipynb: cell 5, line 1: cluste"
    ]


def test_a_cell_that_is_not_python_stays_and_is_told() -> None:
    found = migrate(notebook(cell(CALL), cell("SLURMCluster(")), "my.ipynb")
    assert lost(found) == ["my.ipynb: cell 2: this cell is not Python, and stays as it is"]
    assert json.loads(found.text)["cells"][1] == cell("SLURMCluster(")


def test_a_notebook_is_known_by_what_is_in_it() -> None:
    assert json.loads(migrate(notebook(cell(CALL)), "<stdin>").text)["nbformat"] == 4
    with pytest.raises(InvalidRequest, match="not a notebook"):
        migrate('{"cells": 3}', "my.ipynb")


# --- configuration ----------------------------------------------------------------------------------------------

SECTION = """\
# Ours.
distributed:
  worker:
    memory: {spill: false}  # no disks

jobqueue:
  slurm:
    name: dask-worker
    cores: 24      # of a node
    memory: 100 GB
    processes: null
    queue: compute
    project: bio
    walltime: 12:00:00
    job-extra: {-C haswell}
    env-extra: ['export A=1']
  pbs:
    cores: 2
    memory: 4GB
  oar: {cores: null}

# Theirs.
array: {chunk-size: 1 MiB}
"""


def test_a_section_is_replaced_in_its_file() -> None:
    found = migrate(SECTION, "jobqueue.yaml")
    assert found.text.startswith(SECTION.partition("jobqueue:")[0])
    assert found.text.endswith("\n\n# Theirs.\narray: {chunk-size: 1 MiB}\n")
    assert "      cores: 24  # of a node\n" in found.text
    assert yaml.safe_load(found.text)["corral"]["backends"] == {
        "slurm": {
            "cores": 24, "memory": "100 GB", "queue": "compute", "account": "bio", "walltime": "12:00:00",
            "extra-directives": ["-C haswell"], "prologue": ["export A=1"], "processes": 6,
        },
        "pbs": {"cores": 2, "memory": "4GB", "processes": 2, "walltime": "00:30:00"},
    }  # fmt: skip
    assert lost(found) == []


def test_corral_takes_what_is_printed() -> None:
    """Beside a program that says no more than the name of the batch system."""
    with dask.config.set(yaml.safe_load(migrate(SECTION, "x.yml").text)):
        script = str(draw({"backend": "slurm"}).script())
    assert "#SBATCH -C haswell\n" in script
    assert "#SBATCH --cpus-per-task=24\n" in script


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("  cheyenne: {cores: 1, memory: 1GB}\n", "x.yaml:2: jobqueue.cheyenne: its name does not tell"),
        ("  slurm:\n    cores: 1\n    worker-command: mine\n", "x.yaml:4: worker_command='mine'"),
        ("  slurm: {cores: 1, queue: x}\ncorral: {}\n", "x.yaml:3: there is a section corral already"),
    ],
)
def test_what_cannot_be_carried_over_has_its_line(section: str, told: str) -> None:
    [remark] = lost(migrate(f"jobqueue:\n{section}", "x.yaml"))
    assert remark.startswith(told)


def test_what_a_section_takes_from_another_is_in_it() -> None:
    """What it says itself wins, wherever that stands."""
    text = "base: &base {cores: 4, queue: long}\njobqueue:\n  slurm:\n    queue: x\n    <<: *base\n    memory: 1GB\n"
    found = yaml.safe_load(migrate(text, "x.yaml").text)["corral"]["backends"]["slurm"]
    assert (found["cores"], found["queue"], found["memory"]) == (4, "x", "1GB")


def test_a_section_of_any_name_is_of_the_batch_system_that_is_said() -> None:
    found = migrate("jobqueue:\n  cheyenne: {cores: 1, memory: 1GB}\n", "x.yaml", backend="pbs")
    assert yaml.safe_load(found.text)["corral"]["backend"] == "pbs"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobqueue: [\n", "x.yaml:2: this is not YAML"),
        ("jobqueue:\n  slurm:\n    queue: !mine x\n", "x.yaml:3: this is not YAML"),
        ("jobqueue:\n  slurm:\n    <<: 3\n", "x.yaml:3: this is not YAML"),
        ("jobqueue: 3\n", "x.yaml:1: jobqueue is not a section"),
        ("a: 1\n", "nothing of dask-jobqueue's"),
        ("", "nothing of dask-jobqueue's"),
        ("- jobqueue:\n", "nothing of dask-jobqueue's"),
    ],
)
def test_what_is_no_configuration_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        migrate(text, "x.yaml")


# --- the command ------------------------------------------------------------------------------------------------


def run(*words: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["migrate", *words], input=stdin)


def test_it_prints_and_tells_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(CALL)
    done = run(str(path))
    assert done.exit_code == 0
    assert done.stdout.startswith("from corral import Cluster\n")
    assert f"{path}:2: connections are TLS" in done.stderr
    assert path.read_text() == CALL


def test_the_standard_input_is_known_by_what_is_in_it() -> None:
    assert run("-", stdin=CALL).stdout.startswith("from corral import Cluster\n")
    assert run("-", stdin=SECTION).stdout.startswith("# Ours.\n")
    assert "<stdin>:3: cluster.job_header" in run("-", stdin=f"{CALL}cluster.job_header\n").stderr


def test_one_thing_that_is_lost_is_exit_code_1() -> None:
    done = run("-", stdin=f"{CALL}cluster.start_workers(2)\n")
    assert done.exit_code == 1
    assert done.stdout.startswith("from corral import Cluster\n")
    assert done.stderr.endswith("corral: 1 thing could not be carried over\n")


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (["/no/such.py"], b"", "/no/such.py cannot be read: No such file"),
        (["/"], b"", "Is a directory"),
        (["-"], b"\xff", "not text in UTF-8"),
        (["/dev/zero"], b"", "larger than 50 MB"),
        (["-"], b"", "nothing that is known here"),
        (["-"], b"import dask\n", "nothing that is known here"),
        (["-", "--as=submit"], CALL.encode(), "is for job scripts"),
    ],
)
def test_what_is_unusable_is_exit_code_2(words: list[str], stdin: bytes, said: str) -> None:
    done = run(*words, stdin=stdin)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_it_writes_elsewhere_if_it_is_told_to(tmp_path: Path) -> None:
    """Never over what it has read."""
    path, other = tmp_path / "program.py", tmp_path / "other.py"
    path.write_text(CALL)
    assert run(str(path), "--output", str(other)).exit_code == 0
    assert other.read_text().startswith("from corral import Cluster\n")
    done = run(str(path), "--output", os.path.relpath(path))
    assert done.exit_code == 2
    assert path.read_text() == CALL
    done = run(str(path), "--output", str(tmp_path / "no" / "where.py"))
    assert (done.exit_code, "Traceback" in done.stderr) == (2, False)
    assert "where.py cannot be written: No such file" in done.stderr


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no patch here")
def test_a_patch_is_what_patch_takes(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(CALL)
    patch = run(str(path), "--diff").stdout
    subprocess.run(["patch", str(path)], input=patch, text=True, check=True, capture_output=True)
    assert path.read_text() == run("-", stdin=CALL).stdout


def test_a_mark_at_the_beginning_is_not_part_of_the_text(tmp_path: Path) -> None:
    """Windows' editors write one."""
    path = tmp_path / "program.py"
    path.write_bytes(b"\xef\xbb\xbf" + CALL.encode())
    assert run(str(path)).stdout.startswith("from corral import Cluster\n")


def test_nothing_of_the_program_is_run(tmp_path: Path) -> None:
    """Nor is anything imported that it imports."""
    path = tmp_path / "program.py"
    path.write_text(f"raise SystemExit(7)\nimport no_such_module\n{CALL}")
    done = subprocess.run([sys.executable, "-m", "corral", "migrate", str(path)], capture_output=True, check=False)
    assert done.returncode == 0
