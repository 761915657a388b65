"""A living cluster in the registry: its own process keeps its entry true."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import evolve

from corral.cluster.changes import Changes
from corral.cluster.registry import Entry, SystemLine
from corral.text.logs import logger_of

logger = logger_of()

#: How often a cluster says that it lives (s).
HEARTBEAT = 60.0
#: How soon after a change its entry is written (s).
PAUSE = 1.0


class Registration:
    """The entry of a living cluster, kept true by its process.

    `keep` and `let_go` belong to the cluster's event loop. The others wait for a disk, and are called in threads.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._keeping: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        #: Names of submissions that are under way.
        self._under_way: set[str] = set()
        #: True once this process may have written the file: what was there before is not its to remove.
        self._is_begun = False
        self._is_removed = False
        self._is_told = False

    def keep(self, news: Callable[[], Mapping[str, Any]] = dict, changes: Changes | None = None) -> None:
        """From now on write what there is, the entry's `news`: soon after each change, and once a minute."""
        changes = changes or Changes()
        self._keeping = asyncio.create_task(self._keep(news, changes, changes.count), name="corral registry")

    async def let_go(self) -> None:
        """Write nothing more by itself."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self, news: Callable[[], Mapping[str, Any]], changes: Changes, written: int) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT):
                    await changes.after(written)
            # What changes together is written together.
            await asyncio.sleep(PAUSE)
            written = changes.count
            await asyncio.to_thread(self.renew, **news())

    def renew(self, **news: Any) -> None:
        """Write that the cluster lives, and what has changed. A failure is told once, until it works again."""
        with self._lock:
            if not self._under_way:
                news["submitted"] = 0.0
            self.entry = evolve(self.entry, heartbeat=time.time(), **news)
            if self._is_removed:
                return
            self._is_begun = True
            try:
                self.entry.write()
            except OSError as error:
                if not self._is_told:
                    logger.warning(
                        "cluster %s cannot record that it is alive: %s. corral ps shows what was written last, and if "
                        "this process is killed now, corral clean may not find all of its jobs.",
                        self.entry.name, error, cluster=self.entry.name,
                    )  # fmt: skip
                self._is_told = True
            else:
                self._is_told = False

    def announce(self, name: str, systems: Sequence[SystemLine] = ()) -> None:
        """Write down that jobs of this name are about to be submitted, so that they are found whatever happens now.

        Parameters
        ----------
        systems
            Where the cluster may have jobs, beside its own batch system.
        """
        part = f"{self.entry.uuid[:8]}-"
        before, found, _ = name.rpartition(part)
        prefixes = self.entry.prefixes
        if not name.startswith(tuple(prefixes)) and found:
            # A site has given jobs other names.
            prefixes = (*prefixes, before + part)
        self._under_way.add(name)
        self.renew(submitted=time.time(), prefixes=prefixes, systems=systems)

    def settle(self, name: str) -> None:
        """The submission of this name is no longer under way: written with what comes next."""
        self._under_way.discard(name)

    def remove(self) -> None:
        with self._lock:
            self._is_removed = True
            if self._is_begun:
                self.entry.remove()
