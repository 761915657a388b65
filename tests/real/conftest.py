"""What the tests on real batch systems share."""

from __future__ import annotations

from pathlib import Path

import pytest
from operators import OPERATORS, Operator


@pytest.fixture(autouse=True)
def own_state(state_directory: Path) -> None:
    """No test touches the state directory of whoever runs it."""


EACH = [pytest.param(each, id=each.backend, marks=pytest.mark.real(each.backend)) for each in OPERATORS]


@pytest.fixture(params=EACH)
def operator(request: pytest.FixtureRequest) -> Operator:
    """Each batch system in turn."""
    found: Operator = request.param
    return found


#: Nobody is told each time that the project's own have none.
OF_NODES = [
    pytest.param(each, id=each.backend, marks=[pytest.mark.real(each.backend), pytest.mark.needs("nodes")])
    for each in OPERATORS
    if not (each.setup.is_own and "nodes" in each.setup.lacks)
]


@pytest.fixture(params=OF_NODES)
def operator_of_nodes(request: pytest.FixtureRequest) -> Operator:
    """Each batch system in turn that has jobs of several nodes."""
    found: Operator = request.param
    return found
