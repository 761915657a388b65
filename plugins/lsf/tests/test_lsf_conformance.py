"""LSF keeps the laws of every backend: on answers of OpenLava, and on those that IBM's documentation has."""

from __future__ import annotations

from corral_lsf import testing


class TestOpenLava(testing.OpenLavaLaws):
    """Recorded from OpenLava 4.0; where the file says so, 2.2."""


class TestIBM(testing.IBMLaws):
    """As IBM's documentation has it."""


class TestOpenLavaWithoutArrays(testing.OpenLavaWithoutArraysLaws):
    """The same laws where each job is a submission of its own."""
