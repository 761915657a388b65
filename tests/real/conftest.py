"""What the tests on real batch systems share."""

from __future__ import annotations

from pathlib import Path

import pytest
from operators import OPERATORS, Operator

from corral.plugin import discovery


@pytest.fixture(autouse=True)
def own_state(state_directory: Path) -> None:
    """No test touches the state directory of whoever runs it."""


@pytest.fixture(
    params=[pytest.param(each, id=each.backend, marks=pytest.mark.real(each.backend)) for each in OPERATORS]
)
def operator(request: pytest.FixtureRequest) -> Operator:
    """Each batch system in turn."""
    operator: Operator = request.param
    if operator.backend not in {plugin.name for plugin in discovery.usable("backend")}:
        pytest.skip(f"{operator.backend} answers, but there is no corral-{operator.backend} here")
    return operator
