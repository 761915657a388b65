"""Slurm keeps the laws of every backend, on answers of Slurm 22.05."""

from __future__ import annotations

from corral_slurm import testing


class TestSlurm(testing.SlurmLaws):
    """As it answers by default."""


class TestSlurmWithoutArrays(testing.SlurmWithoutArraysLaws):
    """The same laws where --array and --mem are refused, as on TACC's Frontera."""
