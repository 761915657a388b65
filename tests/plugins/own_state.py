"""The tests have a state folder of their own: what the user's clusters left there is none of their business.

Nor are variables of the user's that corral would name at the first submission. Tests that run side by side have folders
for temporary files of their own, too: some look for what is left there. And Ctrl-C reaches programs that tests start,
also where these tests run in the background of a script, whose shell has them ignore it.
"""

from __future__ import annotations

import fnmatch
import gc
import os
import shutil
import signal
import tempfile

import pytest

from corral.plugin import discovery

_FOLDERS = pytest.StashKey[list[str]]()
_BACKENDS = pytest.StashKey[frozenset[str]]()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folders = config.stash[_FOLDERS] = []
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="tests-")
        folders.append(tempfile.tempdir)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="state-of-tests-")
    folders.append(os.environ["XDG_STATE_HOME"])


def pytest_collection_finish() -> None:
    # Half a million objects that stay to the end: the garbage collector need not look through them again and again.
    gc.collect()
    gc.freeze()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_BACKENDS] = frozenset(each.name for each in discovery.usable("backend"))
    from corral.environment.surroundings import MATTERING

    for name in list(os.environ):
        if not name.startswith("LD_") and any(
            fnmatch.fnmatchcase(name, each) for each in (*MATTERING, "LOADEDMODULES")
        ):
            del os.environ[name]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """What a test has installed for itself is known to no other test."""
    if discovery.all_facts.cache_info().currsize and not item.config.stash[_BACKENDS] >= discovery.all_facts().keys():
        discovery.all_facts.cache_clear()
        discovery.enclosing.cache_clear()


def pytest_unconfigure(config: pytest.Config) -> None:
    for folder in config.stash[_FOLDERS]:
        shutil.rmtree(folder, ignore_errors=True)
