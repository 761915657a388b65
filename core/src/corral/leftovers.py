"""What a cluster leaves when its process is killed, and how it is removed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from corral import plugins
from corral.batch import BatchSystem
from corral.domain import JobId
from corral.home import Home
from corral.registry import SILENT_AFTER, Entry

logger = logging.getLogger("corral")


async def find(entry: Entry) -> list[JobId]:
    """The cluster's jobs that have not ended, by the names that only it has used: ids may be other people's by now.

    Raises
    ------
    BatchSystemError
        The batch system does not answer.
    """
    batch = _batch(entry)
    return [job_id for name in entry.names for job_id in await batch.find(name)]


async def is_dead(entry: Entry) -> bool:
    """True if nobody looks after the cluster any more, nor will.

    Raises
    ------
    BatchSystemError
        The batch system does not answer.
    """
    if entry.is_waiting:
        # Its submission may be under way.
        is_new = time.time() - entry.started < SILENT_AFTER
        return not is_new and not await _batch(entry).find(entry.scheduler_name)
    return entry.process_is_gone()


async def remove(entry: Entry, job_ids: Sequence[JobId]) -> bool:
    """Cancel the jobs, and remove credentials, old logs and the registry file.

    Returns
    -------
    bool
        False if the cluster turned out to live: nothing was done.
    """
    if not await is_dead(entry):
        return False
    if job_ids:
        await _batch(entry).cancel(job_ids)
    await asyncio.to_thread(_remove_files, entry)
    return True


def _batch(entry: Entry) -> BatchSystem:
    manager = plugins.load(entry.backend, options=entry.backend_options, site=entry.site)
    return BatchSystem(backend=entry.backend, manager=manager)


def _remove_files(entry: Entry) -> None:
    # The registry is a file that anything of the user's may have written: only what corral made, and marked, is
    # touched, and there only what has the cluster's own name.
    try:
        home = Home.around(entry.credentials)
        home.remove_cluster(entry.uuid)
        home.remove_old_logs()
    except (ValueError, OSError) as error:
        logger.warning("cluster %s: files are left where they are: %s", entry.name, error)
    entry.remove()
