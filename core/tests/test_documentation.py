"""The documentation is as complete as the contract."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from attrs import fields

from corral import Cluster, hookspecs
from corral.allocation import Allocation
from corral.blueprint import CLUSTER_ARGUMENTS
from corral.cli import main
from corral.cli.options import documented, spoken
from corral.cli.schema import configuration_schema
from corral.contract import HOOKS
from corral.group import WorkerGroup
from corral.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"

#: What a person can set, and the class whose docstring says it.
OPTIONS = {
    Cluster: [*CLUSTER_ARGUMENTS, "n_workers", "silence_logs", "asynchronous"],
    WorkerGroup: list(WorkerGroup.argument_names()),
    Settings: [attribute.name for attribute in fields(Settings)],
}


def test_every_hook_is_in_the_reference_once() -> None:
    """The reference is built from the docstrings, one directive for each hook."""
    listed = re.findall(r"autofunction:: corral\.hookspecs\.(\w+)", (DOCS / "hooks.md").read_text())
    assert sorted(listed) == sorted(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_says_what_it_does_in_full_types(name: str) -> None:
    """A docstring, and no parameter or result without a type."""
    function = getattr(hookspecs, name)
    assert inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())


def test_every_page_is_reached_from_the_index() -> None:
    """What nobody finds is not documented."""
    index = (DOCS / "index.md").read_text().split()
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= set(index)


@pytest.mark.parametrize("page", ["threat-model", "faults"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    """A line that nothing holds is a wish."""
    named = re.findall(r"`([\w/.]+\.py)::(\w+)", (DOCS / f"{page}.md").read_text())
    assert len(named) > 10
    missing = [f"{path}::{test}" for path, test in named if f"def {test}(" not in (DOCS.parent / path).read_text()]
    assert missing == []
