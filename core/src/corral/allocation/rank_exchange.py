"""How the ranks of one launch find each other: credentials go from the scheduler's rank to all others.

`FileExchange` uses a private file; another way is another `Exchange` (`corral_mpi` has MPI).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from typing import NoReturn, Protocol

from corral.allocation.rank_environment import World
from corral.errors import CredentialsError
from corral.host.home import Home
from corral.launch.contact import Contact, find_scheduler
from corral.launch.ending import Ended, say
from corral.security.credentials import Credentials

#: Exit code of ranks that end because another failed.
FAILURE = 1

#: Seconds for the ranks to find each other: imports from a shared file system take minutes.
PATIENCE = 300.0
#: Seconds for the other ranks to hear that all is over, and to go.
FAREWELL = 5.0
#: How soon to look for the file again (s).
_GLANCE = 0.5


class Exchange(Protocol):
    """How the credentials come from the scheduler's rank to the others."""

    def publish(self, credentials: Credentials | None) -> None:
        """Called once, on the scheduler's rank; None: it has failed, and the others must not wait."""

    def fetch(self) -> tuple[Credentials, Contact]:
        """Called once on every other rank.

        Raises
        ------
        Ended
            There are none.
        """

    def close(self) -> None:
        """Called on the scheduler's rank when all is over."""


def fetched(exchange: Exchange) -> tuple[Credentials, Contact]:
    """The credentials; a process that cannot have them ends."""
    try:
        return exchange.fetch()
    except Ended as ended:
        say(str(ended))
        leave(FAILURE)


def leave(code: int) -> NoReturn:
    """End this process: what follows in the script is for another rank."""
    sys.stdout.flush()
    sys.stderr.flush()
    raise SystemExit(code)


#: In the folder of corral's own.
_RANKS = "ranks"


class FileExchange:
    """Through a private file, which names the launch: another launch, or a requeue, has another one.

    One that a killed launch of the same name left behind leads to no scheduler, and is read again until it is
    replaced.
    """

    def __init__(self, world: World, shared_directory: str | os.PathLike[str] | None) -> None:
        self.home = Home.of(shared_directory or None)
        self.path = self.home.path / _RANKS / f"{world.launch}.json"

    def publish(self, credentials: Credentials | None) -> None:
        self._remove()
        if credentials is not None:
            credentials.write(self.path, home=self.home)
            return
        Credentials(cluster="failed").write(self.path, home=self.home)
        time.sleep(FAREWELL)
        self.close()

    def fetch(self) -> tuple[Credentials, Contact]:
        deadline = time.monotonic() + PATIENCE
        problem = "there is no file"
        while time.monotonic() < deadline:
            try:
                credentials = Credentials.read(self.path)
                if not credentials.addresses:
                    raise Ended(FAILURE, "the scheduler's rank has failed")
                return credentials, asyncio.run(find_scheduler(credentials, patience=0.0))
            except (FileNotFoundError, CredentialsError) as error:
                problem = str(error)
            except Ended as ended:
                if ended.code == FAILURE:
                    raise
                problem = str(ended)
            time.sleep(_GLANCE)
        raise Ended(FAILURE, f"{self.path} led to no scheduler within {PATIENCE:.0f} s: {problem}")

    def close(self) -> None:
        self._remove()
        with suppress(FileNotFoundError), self.home.open() as folder:
            folder.remove_folder(_RANKS)

    def _remove(self) -> None:
        with suppress(FileNotFoundError), self.home.folder(_RANKS) as folder:
            folder.remove(self.path.name)
