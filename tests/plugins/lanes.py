"""Tests side by side, with ``-n N --dist=loadgroup``: those on one real batch system one after the other, and first.

They wait most of the time, and would wait for each other's jobs if they ran together. All others are dealt out file by
file, so that what a module's tests share is made once.
"""

from __future__ import annotations

from typing import Any

import pytest
from batch_systems import needs


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _is_side_by_side(config):
        return
    for item in items:
        if names := needs(item):
            item.add_marker(pytest.mark.xdist_group(names[0]))


class RealOnesFirst:
    """Its own plugin, because an order is wanted at the end, when others have chosen theirs."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: not needs(item))


def pytest_configure(config: pytest.Config) -> None:
    if _is_side_by_side(config):
        config.pluginmanager.register(RealOnesFirst(), "corral-real-ones-first")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadGroupScheduling

    class Lanes(LoadGroupScheduling):
        """A lane for each group; and for each file, where nothing was said of a group."""

        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return nodeid.split("::", maxsplit=1)[0] if scope == nodeid else scope

    if not _is_side_by_side(config):
        return None
    # Else the largest would come first, which are none of those that wait.
    config.option.loadscopereorder = False
    return Lanes(config, log)


def _is_side_by_side(config: pytest.Config) -> bool:
    # Workers are told by `loadgroup`, and the one that deals out by `dist`.
    return bool(config.getoption("loadgroup", False)) or config.getoption("dist", "no") == "loadgroup"
