"""Dask clusters on the ranks of an MPI program, in dask-mpi's words."""

from __future__ import annotations

from corral.allocation.ranks import send_close_signal
from corral.errors import TooFewRanks
from corral_mpi.executing import execute
from corral_mpi.initializing import initialize
from corral_mpi.outside import security

__all__ = ["TooFewRanks", "execute", "initialize", "security", "send_close_signal"]
