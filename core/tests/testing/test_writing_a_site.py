"""What the guide shows is what runs."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from corral.cli import main

pytest.importorskip("corral_slurm")

HERE = Path(__file__).parent
HARBOUR = HERE / "harbour"
GUIDE = (HERE.parents[2] / "docs" / "writing-a-site.md").read_text()


@pytest.fixture(autouse=True)
def _on_a_login_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBOUR_SYSTEM", "main")


def snippets(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def corral(line: str) -> Result:
    done = CliRunner().invoke(main, shlex.split(line, comments=True)[1:])
    assert done.exit_code == 0, done.output
    return done


def test_every_snippet_is_in_a_file_that_is_tested() -> None:
    """The guide's code is the made-up centre's, to the letter."""
    sources = [*HARBOUR.glob("*.py"), HARBOUR / "pyproject.toml", HERE / "test_harbour_conformance.py"]
    code = "\n".join(path.read_text() for path in sources)
    found = [*snippets("python"), *snippets("toml")]
    assert len(found) == 7
    assert [each for each in found if each not in code] == [next(iter(snippets("python")))]


def test_the_file_is_the_one_that_keeps_the_laws() -> None:
    """Harbour in YAML."""
    assert list(snippets("yaml")) == [(HARBOUR / "harbour.yaml").read_text()]


def test_users_write_no_more_than_that() -> None:
    """The first block's arguments give the directives of the second."""
    [call] = ast.parse(next(iter(snippets("python")))).body
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    said: dict[str, Any] = {each.arg: ast.literal_eval(each.value) for each in call.value.keywords if each.arg}
    script = corral("corral script " + " ".join(f"--{name}={value}" for name, value in said.items())).stdout
    assert [line for line in next(iter(snippets("sh"))).splitlines() if line not in script.splitlines()] == []


def test_every_command_can_be_run() -> None:
    """On a login node of Harbour's."""
    lines = [line for block in snippets("text") for line in block.splitlines()]
    assert len(lines) == 3
    said = [corral(line).stdout for line in lines]
    assert "harbour" in said[0]
    assert "--partition=shared" in said[1]
    assert "--licenses=matlab" in said[2]
