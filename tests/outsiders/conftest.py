"""Packages that are no part of the workspace: `test_outsiders.py` runs their tests, where they have been installed."""

from __future__ import annotations

collect_ignore = ["tsp"]
