"""Which cluster has a name, as processes see it that want to connect to one, or to begin another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from corral.cluster.registry import REGISTRY, Entry, entries
from corral.host.home import Home


def find_entry(name: str) -> Entry | None:
    """The newest cluster of this name that others can connect to; one that is silent only if no other may live."""
    found = [
        entry
        for entry in entries()
        if entry.name == name and entry.scheduler != "process" and not entry.process_is_gone()
    ]
    return max(found, key=lambda entry: (not entry.is_silent, entry.started), default=None)


def nothing_called(name: str) -> str:
    """Say that there is no cluster of this name to connect to, and which there are."""
    found = entries()
    for entry in found:
        if entry.name == name and entry.scheduler == "process":
            return (
                f"cluster {name!r} has its scheduler in process {entry.pid} on {entry.host}: only one that was started "
                "with scheduler='job', or by corral serve, can be connected to"
            )
    others = ", ".join(sorted({entry.name for entry in found if entry.scheduler != "process"})) or "none"
    return f"there is no cluster {name!r}; there are: {others}. See corral ps"


def already_called(name: str, where: str) -> str:
    """Say that there is a cluster of this name, and what to do."""
    return (
        f"there is a cluster {name!r} already ({where}): connect to it with Cluster.connect({name!r}) or "
        "on_exists='connect', or end it with on_exists='replace'"
    )


@contextmanager
def names_held() -> Iterator[None]:
    """Two processes that want the same name at the same moment take turns."""
    with Home.of().folder(REGISTRY, make=True) as folder, ExitStack() as stack:
        # Who has it for so long was stopped: better two clusters of one name than none.
        with suppress(TimeoutError):
            # The folder itself: a lock file would be one more thing to leave behind.
            stack.enter_context(folder.lock())
        yield
