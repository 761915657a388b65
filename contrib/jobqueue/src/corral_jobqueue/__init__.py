"""dask-jobqueue's classes on corral: change the import, keep the script."""

from __future__ import annotations

from corral_jobqueue.translation import Translation, translate

__all__ = ["Translation", "translate"]
