"""What a shell may complete beside the names of commands and options: clusters, jobs, groups, backends and sites.

A person waits for each of these with a finger on the key: nothing heavy is imported, no batch system is asked, and
what goes wrong is no word that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from corral.cluster.registry import Entry

#: No shell shows more.
MOST = 500


def _completes(words: Callable[[click.Context], Iterable[str]]) -> Callable[..., list[str]]:
    """A function as click asks for one; never an error, also of what is not to be thought of."""

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            found = dict.fromkeys(word for word in words(context) if word.startswith(incomplete) and word.isprintable())
        except Exception:
            return []
        return list(found)[:MOST]

    return complete


def _entries(context: click.Context) -> list[Entry]:
    """Of the cluster that was named before, or all."""
    from corral.cluster.registry import read

    named = context.params.get("cluster")
    return [entry for entry in read()[0] if named in (None, entry.name)]


def _jobs(context: click.Context) -> Iterable[str]:
    from corral.cluster import kept_logs

    for entry in _entries(context):
        yield from (line.id for line in entry.jobs)
    if context.info_name == "logs":
        yield from (line.id for each in kept_logs.ended() for line in each.jobs)


def _groups(context: click.Context) -> Iterable[str]:
    import dask.config

    configured = dask.config.get("corral.groups", default=None)
    yield from configured if isinstance(configured, dict) else ()
    for entry in _entries(context):
        yield from entry.asked


def _backends() -> Iterable[str]:
    from corral.plugin import discovery

    return sorted(each.name for each in discovery.installed() if each.kind == "backend")


def _sites() -> Iterable[str]:
    from corral.plugin import discovery

    # With those in files.
    return sorted(each.name for each in discovery.usable("site"))


clusters = _completes(lambda context: (entry.name for entry in _entries(context)))
jobs = _completes(_jobs)
groups = _completes(_groups)
backends = _completes(lambda _: _backends())
sites = _completes(lambda _: _sites())
