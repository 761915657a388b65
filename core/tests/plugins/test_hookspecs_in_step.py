"""The contract's code and its documentation say the same."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from corral.plugin import hookspecs
from corral.plugin.validation import HOOKS
from corral.text.docstrings import docstring

SPECS: list[Callable[..., Any]] = [getattr(hookspecs, name) for name in HOOKS]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_every_hook_is_documented(spec: Callable[..., Any]) -> None:
    """A docstring, a type for each parameter and for the result."""
    assert docstring("corral.plugin.hookspecs", spec.__name__)
    signature = inspect.signature(spec)
    assert not [name for name, parameter in signature.parameters.items() if parameter.annotation is parameter.empty]
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_documented_parameters_exist(spec: Callable[..., Any]) -> None:
    """A section "Parameters" names only parameters of the hook."""
    section = re.search(
        r"Parameters\n-+\n(.*?)(\n\n\S|\Z)", docstring("corral.plugin.hookspecs", spec.__name__), re.DOTALL
    )
    named = re.findall(r"^(\w+)$", section[1], re.MULTILINE) if section else []
    assert set(named) <= set(inspect.signature(spec).parameters)


def test_every_hook_has_a_name_in_the_overview() -> None:
    """The docstring of the module is the order of events: it leaves no hook out."""
    overview = docstring("corral.plugin.hookspecs")
    mentioned = {name for name in HOOKS if f"`{name}`" in overview}
    assert set(HOOKS) - mentioned <= {"parse_resources", "find_jobs", "detect"}


def test_a_hook_talks_or_is_pure() -> None:
    """What talks is a conversation; nothing is a coroutine."""
    assert not [spec.__name__ for spec in SPECS if inspect.iscoroutinefunction(spec)]
    pure = {"prepare_job", "render_script", "parse_resources", "launch_command", "classify_failure"}
    assert {name for name, spec in HOOKS.items() if not spec.is_conversation} == pure | {"job_state_changed"}
