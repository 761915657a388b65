"""Grid Engine keeps the laws of every backend, on answers of Son of Grid Engine 8.1.9."""

from __future__ import annotations

from corral_sge import testing


class TestGridEngine(testing.GridEngineLaws):
    """As it answers by default."""


class TestGridEngineWithoutArrays(testing.GridEngineWithoutArraysLaws):
    """The same laws where each job is a submission of its own."""
