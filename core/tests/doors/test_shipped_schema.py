"""The schema of the configuration that comes with corral: current, and where editors are told to look."""

from __future__ import annotations

import json
import subprocess
import sys

import dask.config
import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from corral.cli import main
from corral.cli.schema import SHIPPED, configuration_schema, written


def test_the_shipped_schema_is_current() -> None:
    """`python core/src/corral/cli/schema.py` writes it; the same wherever, as it knows the embedded backend alone."""
    assert SHIPPED.read_text() == written(configuration_schema(["local"]))
    assert list(json.loads(SHIPPED.read_text())["properties"]["corral"]["properties"]["backends"]["properties"]) == [
        "local"
    ]


def test_editors_are_told_where_it_is() -> None:
    """And what they make of a file with a word too many."""
    done = CliRunner().invoke(main, ["schema", "--path"])
    assert done.output == f"{SHIPPED}\n"
    schema = json.loads(SHIPPED.read_text())
    good = "corral: {backend: slurm, backends: {local: {memory: 2GB}, slurm: {queue: batch, backend-options: {x: 1}}}}"
    jsonschema.validate(yaml.safe_load(good), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"corral": {"wall-time": "1h"}}, schema)


def test_no_defaults_are_put_into_the_configuration() -> None:
    """They would look as if a person had set them, and win over what a site says; and imports would read a file."""
    code = "import dask.config, corral, corral.cluster.cluster; print('corral' in dask.config.config)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": "", "HOME": "/nowhere"}
    )
    assert done.stdout == "False\n"
    assert all("corral" not in each for each in dask.config.defaults)
