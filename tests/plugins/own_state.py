"""The tests have a state folder of their own: what the user's clusters left there is none of their business.

Nor are variables of the user's that corral would name at the first submission.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import tempfile

import pytest

_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FOLDER] = os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="state-of-tests-")


def pytest_sessionstart() -> None:
    from corral.environment.surroundings import MATTERING

    for name in list(os.environ):
        if not name.startswith("LD_") and any(
            fnmatch.fnmatchcase(name, each) for each in (*MATTERING, "LOADEDMODULES")
        ):
            del os.environ[name]


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)
