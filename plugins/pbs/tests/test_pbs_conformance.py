"""PBS keeps the laws of every backend, on answers of OpenPBS 23.06."""

from __future__ import annotations

from corral_pbs import testing


class TestPBS(testing.PBSLaws):
    """As it answers by default."""


class TestPBSWithOptions(testing.PBSWithOptionsLaws):
    """The same laws where the site asks in its own way; answers are the same, so one for each hook will do."""


class TestPBSWithoutArrays(testing.PBSWithoutArraysLaws):
    """The same laws where each job is a submission of its own."""
