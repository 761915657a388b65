"""What the tests on real batch systems share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state(state_directory: Path) -> None:
    """No test touches the state directory of whoever runs it."""
