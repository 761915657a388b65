"""What the tests on real batch systems share."""

from __future__ import annotations

from pathlib import Path

import pytest
from operators import OPERATORS, Operator

from corral.plugin import discovery


@pytest.fixture(autouse=True)
def own_state(state_directory: Path) -> None:
    """No test touches the state directory of whoever runs it."""


EACH = [pytest.param(each, id=each.backend, marks=pytest.mark.real(each.backend)) for each in OPERATORS]


@pytest.fixture(params=EACH)
def operator(request: pytest.FixtureRequest) -> Operator:
    """Each batch system in turn."""
    return _usable(request.param)


@pytest.fixture(params=[parameter for parameter, each in zip(EACH, OPERATORS) if not each.is_one_host])
def operator_of_nodes(request: pytest.FixtureRequest) -> Operator:
    """Each batch system in turn that has jobs of several nodes."""
    return _usable(request.param)


def _usable(operator: Operator) -> Operator:
    if operator.backend not in {plugin.name for plugin in discovery.usable("backend")}:
        pytest.skip(f"{operator.backend} answers, but there is no corral-{operator.backend} here")
    return operator
