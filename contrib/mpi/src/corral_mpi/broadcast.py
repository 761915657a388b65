"""Credentials by MPI: nothing is written anywhere."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from attrs import asdict

from corral.allocation.ranks import FAILURE, PATIENCE, Contact, Credentials, Ended, World, find_scheduler

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm


def world_communicator() -> Intracomm:
    """All ranks. Importing it initialises MPI, which nothing else here does."""
    from mpi4py import MPI

    return MPI.COMM_WORLD


def world_of(communicator: Intracomm) -> World:
    """The ranks of a communicator."""
    return World(rank=communicator.Get_rank(), size=communicator.Get_size(), launch="mpi")


class Broadcast:
    """The way from the scheduler's rank to all others; every rank takes part once."""

    def __init__(self, communicator: Intracomm, root: int) -> None:
        self._communicator = communicator
        self._root = root

    def publish(self, credentials: Credentials | None) -> None:
        self._communicator.bcast(None if credentials is None else json.dumps(asdict(credentials)), root=self._root)

    def fetch(self) -> tuple[Credentials, Contact]:
        text = self._communicator.bcast(None, root=self._root)
        if text is None:
            raise Ended(FAILURE, "the scheduler's rank has failed")
        credentials = Credentials(**json.loads(text))
        return credentials, asyncio.run(find_scheduler(credentials, PATIENCE))

    def close(self) -> None:
        pass
