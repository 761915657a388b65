"""Moab keeps the laws of every backend, on answers in the form of its documentation.

None of them is a recording: they were written by hand.
"""

from __future__ import annotations

from corral_moab import testing


class TestMoab(testing.MoabLaws):
    """As it answers by default."""


class TestMoabWithoutArrays(testing.MoabWithoutArraysLaws):
    """The same laws where each job is a submission of its own."""
