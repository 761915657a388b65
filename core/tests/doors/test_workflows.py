"""Prefect and papermill on clusters of corral's: the examples of docs/connecting.md, as they are shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

EXECUTE = """
import nbclient, nbformat
notebook = nbformat.read("notebook.ipynb", as_version=4)
nbclient.execute(notebook, kernel_name="python3")
nbformat.write(notebook, "notebook.ipynb")
"""
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """Of a program whose configuration says what a cluster needs, as the examples suppose."""
    options = {"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"}
    section = {"backend": "local", "memory": "1GB", "interface": "lo"}
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "corral.yaml").write_text(
        json.dumps({"corral": {**section, "backends": {"local": {"backend-options": options}}}})
    )
    return {**os.environ, "DASK_CONFIG": str(tmp_path / "dask"), "XDG_STATE_HOME": str(tmp_path / "state")}


def test_a_notebook_with_parameters_makes_a_cluster(surroundings: dict[str, str], tmp_path: Path) -> None:
    """Executed as papermill does it: a cell with the parameters stands after the one that has their defaults."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    notebook = nbformat.read(EXAMPLES / "papermill" / "primes.ipynb", as_version=4)
    [where] = [place for place, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())]
    notebook.cells.insert(where + 1, nbformat.v4.new_code_cell("limit = 3_000\njobs = 2"))
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    # In a process of its own: a kernel has the variables of the one that starts it.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTE],
        cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(tmp_path / "notebook.ipynb", as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.data["text/plain"] for output in outputs if "data" in output] == ["430"]
    assert not list((tmp_path / "state" / "corral" / "registry").glob("*.json"))


@pytest.mark.skipif(find_spec("prefect_dask") is None, reason="prefect-dask is not installed")
@pytest.mark.parametrize("example", ["flow.py", "cluster_of_its_own.py"])
def test_a_flow_of_prefect_runs_its_tasks_in_jobs(example: str, surroundings: dict[str, str], tmp_path: Path) -> None:
    """On a cluster that it is told of, and on one that it makes; with TLS, as always."""
    more = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "prefect" / example],
        env={**surroundings, **more}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "sum 285" in done.stdout, done.stderr
