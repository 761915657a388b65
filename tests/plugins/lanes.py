"""Tests side by side, with ``-n N --dist=loadgroup``: those on one real batch system one after the other, and first.

They wait most of the time, and would wait for each other's jobs if they ran together. All others are dealt out file by
file, so that what a module's tests share is made once; so are those on a batch system that each process has for itself,
and those that need a program alone. Long files come before short ones, or one process would have to end alone.

pytest-xdist's own groups are put into the names of tests, where pytest 9.2 keeps them no longer. So each worker writes
down which test belongs into which lane, for the process that deals them out.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from batch_systems import PROGRAMS, is_of_each, needs

#: The files that take longest, as measured.
LONG = (
    "test_batch_mode", "test_clairvoyant", "test_cluster", "test_deaths", "test_endings", "test_leftovers",
    "test_many_clusters", "test_optimized", "test_own_systems", "test_remote",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where to write, before it begins."""
    if node.config.getoption("dist") == "loadgroup":
        node.workerinput["lanes"] = str(_lanes(node.config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Write it; last, when others have chosen their order."""
    path = getattr(config, "workerinput", {}).get("lanes")
    if path is None:
        return
    items.sort(key=lambda item: (not needs(item), item.path.stem not in LONG))
    shared = {name for item in items for name in needs(item) if name not in PROGRAMS and not is_of_each(config, name)}
    lanes = {item.nodeid: lane for item in items if (lane := next(filter(shared.__contains__, needs(item)), None))}
    # All workers write the same.
    partial = Path(f"{path}.{config.workerinput['workerid']}")  # type: ignore[attr-defined]
    partial.write_text(json.dumps(lanes))
    partial.rename(path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):  # type: ignore[misc]
        @cached_property
        def lanes(self) -> dict[str, str]:
            lanes: dict[str, str] = json.loads(_lanes(config).read_text())
            return lanes

        def _split_scope(self, nodeid: str) -> str:
            return self.lanes.get(nodeid) or nodeid.split("::", maxsplit=1)[0]

    # Else the largest would come first, which are none of those that wait.
    config.option.loadscopereorder = False
    return Lanes(config, log)


def _lanes(config: pytest.Config) -> Path:
    factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    return factory.getbasetemp() / "lanes.json"
