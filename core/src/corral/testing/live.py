"""pytest's option ``--live``: the laws of every backend also on the real thing.

    pytest -p corral.testing.live --live

Two lines in the ``pyproject.toml`` of a backend's package make it ``pytest --live``::

    [tool.pytest.ini_options]
    addopts = ["-p", "corral.testing.live"]

It is no entry point of pytest's: who has corral installed for other reasons gets no option from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from corral.testing.live_jobs import Live


class Hooks:
    """What a ``conftest.py`` may answer."""

    @pytest.hookspec(firstresult=True)
    def pytest_corral_live(self, laws: type, live: Live) -> Live | None:
        """What a class of laws is to know of the batch system that answers here, if it is not what it declares. ::

            def pytest_corral_live(laws, live):
                return evolve(live, job=evolve(live.job, queue="debug", account="physics"))

        None leaves it as it is.
        """


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """For a centre whose queues and accounts no plugin's author knows."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Without it, the live laws are left out."""
    parser.getgroup("corral").addoption(
        "--live",
        action="store_true",
        help="the laws of corral's backends also on the batch system that answers here: it runs some ten small jobs",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the option, and in classes that have none, these laws are not even skipped."""
    from corral.testing.laws.live import is_law, is_of_walltime, is_wanted

    def is_out(item: pytest.Item) -> bool:
        return is_law(item) and not (is_wanted(config) and getattr(getattr(item, "cls", None), "live", None))

    if out := [item for item in items if is_out(item)]:
        config.hook.pytest_deselected(items=out)
    kept = [item for item in items if not is_out(item)]
    # What waits for a walltime comes last of its file: its job runs from the beginning of the laws, and some batch
    # systems forget within minutes what has ended.
    files = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in kept))}
    items[:] = sorted(kept, key=lambda item: (files[item.path], is_of_walltime(item)))
