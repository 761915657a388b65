"""What this host lets one user have, as far as a busy scheduler meets it: threads, processes and open files."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from corral.errors import CorralError
from corral.text.logs import logger_of

logger = logger_of()

#: fs.nr_open, by default.
_CEILING = 1_048_576
#: The Dask scheduler needs two to three file descriptors a worker.
DESCRIPTORS_PER_WORKER = 3


def is_exhausted(error: BaseException) -> bool:
    """True if this host lets the user have no further process, thread, open file or memory at present."""
    if isinstance(error, OSError):
        return error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


@contextmanager
def threads_allowed() -> Iterator[None]:
    """Say what is wrong where a limit on processes and threads lets none be started.

    Raises
    ------
    CorralError
    """
    try:
        yield
    except (RuntimeError, BlockingIOError) as error:
        if not is_exhausted(error):
            raise
        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = "its limit" if soft == resource.RLIM_INFINITY else f"{soft} (ulimit -u)"
        raise CorralError(
            f"this host lets you start no more processes and threads than {limit}, and a Dask scheduler needs some 20: "
            "end some of yours, ask your administrators, or let the scheduler live in a job with scheduler='job'"
        ) from error


def raise_descriptor_limit(workers: int = 0) -> None:
    """Allow as many open files, processes and threads as the system lets us, and warn if `workers` will not fit."""
    processes, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if processes != most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What is not limited still has a ceiling in the kernel, which refuses more.
    wanted = max(soft, _CEILING) if hard == resource.RLIM_INFINITY else hard
    if soft != wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if hard != resource.RLIM_INFINITY and workers * DESCRIPTORS_PER_WORKER + 100 > hard:
        logger.warning(
            "%d workers need some %d open files and this host allows %d (ulimit -Hn): the scheduler will stall. "
            "Ask for fewer, larger workers, or run the scheduler elsewhere.",
            workers, workers * DESCRIPTORS_PER_WORKER + 100, hard,
        )  # fmt: skip
