"""With PYTHONOPTIMIZE=2 there are no docstrings and no asserts: nothing that corral does or says hangs on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)

#: Every help text there is, the argparse ones of internal programs included.
EVERY_HELP = """
from click.testing import CliRunner
import corral.launch.options, corral.local.__main__, corral.remote.__main__
from corral.cli import main
for name in ["", *main.commands, "schema"]:
    words = [name] if name == "schema" else [*filter(None, [name]), "--help"]
    print(CliRunner().invoke(main, words, catch_exceptions=False, terminal_width=80).output)
for parser in (corral.launch.options._parser(), corral.local.__main__._parser()):
    print(parser.format_help())
"""

SMALL_CLUSTER = """
import sys
from distributed import Client
from corral import Cluster

def flags():
    import sys
    return sys.flags.optimize

if __name__ == "__main__":
    arguments = {"memory": "200MB", "interface": "lo", "env": {"PYTHONOPTIMIZE": "2"}}
    with Cluster("local", n_workers=1, backend_options={"directory": sys.argv[1]}, **arguments) as cluster:
        with Client(cluster) as client:
            print("optimized", sys.flags.optimize, client.submit(flags).result(timeout=60))
"""


def python(optimize: str, *arguments: str, home: Path) -> str:
    environ = {**os.environ, "PYTHONOPTIMIZE": optimize, "XDG_STATE_HOME": str(home), "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_help_and_schema_say_the_same_without_docstrings(tmp_path: Path) -> None:
    """In every command, word for word."""
    usual = python("0", "-c", EVERY_HELP, home=tmp_path)
    assert "Show what corral does, in half a minute." in usual
    assert "Environment modules to load." in usual
    assert usual == python("2", "-c", EVERY_HELP, home=tmp_path)


def test_a_cluster_works_without_asserts(tmp_path: Path) -> None:
    """Here and in the jobs."""
    assert python("2", "-c", SMALL_CLUSTER, str(tmp_path / "q"), home=tmp_path) == "optimized 2 2\n"


@pytest.mark.parametrize("optimize", ["0", "2"])
def test_the_demo_plays_to_its_end(optimize: str, tmp_path: Path) -> None:
    """The README's first command."""
    small = ("--jobs=2", "--memory=200MB", f"--backend-option=directory={tmp_path}/q")
    told = python(optimize, "-m", "corral.cli", "demo", *small, home=tmp_path)
    assert "98,222,287 primes below 2,000,000,000: right" in told
    assert "3 were submitted: 2 completed, 1 cancelled" in told
