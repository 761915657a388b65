"""Flux keeps the laws of every backend, on answers of Flux 0.88."""

from __future__ import annotations

from corral_flux import testing


class TestFlux(testing.FluxLaws):
    """As it answers by default."""
