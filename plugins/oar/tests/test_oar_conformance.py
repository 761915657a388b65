"""OAR keeps the laws of every backend, on answers of OAR 2.5.9."""

from __future__ import annotations

from corral_oar import testing


class TestOar(testing.OarLaws):
    """As it answers by default."""


class TestOarWithoutOptions(testing.OarWithoutOptionsLaws):
    """At a site of which nothing is known: memory is no matter of OAR's."""


class TestOarWithoutArrays(testing.OarWithoutArraysLaws):
    """The same laws where each job is a submission of its own."""
