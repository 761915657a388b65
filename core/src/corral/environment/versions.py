"""Which corral made a cluster, and which one its jobs find: two that differ may misunderstand each other."""

from __future__ import annotations

import sys

from corral._version import __version__


def mismatch(theirs: str) -> str | None:
    """What to say of a cluster that another version of corral made; None if it is this one.

    Parameters
    ----------
    theirs
        The version; empty: it did not say.
    """
    if theirs == __version__:
        return None
    return (
        f"the cluster was made by corral {theirs or 'of another version'}, and this job's Python, {sys.executable}, "
        f"has corral {__version__}: install the same version for both, or name the cluster's own Python "
        "with python= or conda_env="
    )
