"""The conformance kit: what a plugin author's tests import. Install it with ``corral[testing]``.

:class:`BackendConformance` holds the laws that every backend keeps, as pytest tests; its docstring shows how to use
them. :func:`drive` runs a conversation on recorded answers, :func:`transcript` reads one of them from a file, and
:class:`Runner` runs it for real. :func:`load` is how a cluster loads plugins.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("corral.testing.conformance", "corral.testing.laws", "corral.testing.recordings")
pytest.register_assert_rewrite("corral.testing.life", "corral.testing.live_jobs")
pytest.register_assert_rewrite("corral.testing.site_laws", "corral.testing.golden")

from corral.batch.runner import Runner, command_environment  # noqa: E402
from corral.plugin.discovery import load  # noqa: E402
from corral.testing.conformance import BackendConformance  # noqa: E402 - assertions are rewritten on import
from corral.testing.driving import Answer, Mismatch, converse, drive, environment, transcript  # noqa: E402
from corral.testing.golden import Example  # noqa: E402
from corral.testing.live_jobs import Live  # noqa: E402
from corral.testing.recordings import (  # noqa: E402
    AskedFor,
    CancelsGone,
    DescribesQueues,
    Detects,
    ExplainsPending,
    Finds,
    GarbledRow,
    Inside,
    Polls,
    Recording,
    Submits,
    UnknownWord,
    one_of_each,
)
from corral.testing.site_conformance import SiteConformance  # noqa: E402

__all__ = [
    "Answer",
    "AskedFor",
    "BackendConformance",
    "CancelsGone",
    "DescribesQueues",
    "Detects",
    "Example",
    "ExplainsPending",
    "Finds",
    "GarbledRow",
    "Inside",
    "Live",
    "Mismatch",
    "Polls",
    "Recording",
    "Runner",
    "SiteConformance",
    "Submits",
    "UnknownWord",
    "command_environment",
    "converse",
    "drive",
    "environment",
    "load",
    "one_of_each",
    "transcript",
]
