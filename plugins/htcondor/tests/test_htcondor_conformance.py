"""HTCondor keeps the laws of every backend, on answers of HTCondor 23.9 and 25.14."""

from __future__ import annotations

from corral_htcondor import testing


class TestHTCondor(testing.HTCondorLaws):
    """As it answers by default."""
