"""The tests have a state folder of their own: what the user's clusters left there is none of their business."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FOLDER] = os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="state-of-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)
