"""The journal of a living cluster: its own process writes down what becomes of it, for a report after the fact."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import corral
from corral.cluster.changes import Changes
from corral.cluster.overviewing import Known, overview_of
from corral.cluster.registry import read as registered
from corral.cluster.shown import Shown
from corral.request.blueprint import Blueprint
from corral.text.logs import logger_of
from corral.view import journals
from corral.view.journal import INTERVAL, LARGEST, Head, Pen, encoded
from corral.view.overview import Overview

logger = logger_of()

#: How soon after a change it is written down (s).
PAUSE = 1.0
#: At most this part of the time is spent on it: after a look that took long, the next is longer in coming.
PART = 0.02


class Journalling:
    """Keeps the journal of a cluster.

    `keep` and `let_go` belong to the cluster's event loop. The others wait for a disk, and are called in threads.
    """

    def __init__(self, blueprint: Blueprint, began: float, look: Callable[[], Shown]) -> None:
        self._head = Head(
            name=blueprint.name,
            uuid=blueprint.uuid,
            backend=blueprint.backend,
            began=began,
            host=socket.gethostname(),
            corral=corral.__version__,
            via="" if blueprint.elsewhere is None else blueprint.elsewhere.via,
        )
        self._look = look
        self._pen = Pen()
        self._keeping: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._owner = os.getpid()
        #: What was shown before: with moments by the same clock, what has not changed is equal.
        self._known = Known()
        self._is_begun = False
        self._is_closed = False
        self._is_told = False

    def keep(self, changes: Changes) -> None:
        """From now on write down what changes: about a second later, and now and then how the cluster stands."""
        self._keeping = asyncio.create_task(self._keep(changes), name="corral journal")

    async def let_go(self) -> None:
        """Write nothing more by itself."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self, changes: Changes) -> None:
        await asyncio.to_thread(self._remove_old)
        while True:
            seen, begun = changes.count, time.monotonic()
            await asyncio.to_thread(self.write)
            # What changes together is written together.
            await asyncio.sleep(max(PAUSE, (time.monotonic() - begun) / PART))
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await changes.after(seen)

    def write(self, *, is_last: bool = False) -> None:
        """Write down what has changed. A failure is told once, until it works again."""
        with self._lock:
            if self._is_closed or self._owner != os.getpid():
                return
            self._is_closed = is_last
            try:
                self._write(is_last=is_last)
            except OSError as error:
                if not self._is_told:
                    logger.warning(
                        "cluster %s cannot write its journal: %s. The cluster goes on, and a report of it will lack "
                        "what happens meanwhile; journal: false in the configuration turns journals off.",
                        self._head.name, error, cluster=self._head.name,
                    )  # fmt: skip
                self._is_told = True
            except Exception:
                if not self._is_told:
                    logger.exception("its journal could not be written", cluster=self._head.name)
                self._is_told = True
            else:
                self._is_told = False

    def close(self) -> None:
        """Write down that the cluster has closed, and what there was; then nothing any more."""
        self.write(is_last=True)

    def _write(self, *, is_last: bool) -> None:
        uuid, overview = self._head.uuid, self._overview("closed" if is_last else "running")
        size = journals.size_of(uuid)
        if self._is_begun and not size:
            # Somebody has removed it, or the folder: it begins anew, with all that there is.
            self._pen.forget()
            self._is_begun = False
        news = self._pen.news(overview, size, is_last=is_last)
        if not news.lines:
            return
        lines = encoded(news.lines, LARGEST - size)
        if journals.append(uuid, encoded([self._head.to_line()], 0), lines, begins=not self._is_begun):
            self._is_begun = True
            self._pen.written(news)

    def _overview(self, status: str) -> Overview:
        return overview_of(self._look(), name=self._head.name, status=status, moment=time.time(), known=self._known)

    def _remove_old(self) -> None:
        try:
            entries, _ = registered()
            journals.remove_old({self._head.uuid, *(entry.uuid for entry in entries)})
        except OSError as error:
            logger.debug("old journals could not be removed: %s", error, cluster=self._head.name)
