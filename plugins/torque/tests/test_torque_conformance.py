"""TORQUE keeps the laws of every backend, on answers in the form of its documentation and of its source (6.1).

None of them is a recording: they were written by hand.
"""

from __future__ import annotations

from corral_torque import testing


class TestTorque(testing.TorqueLaws):
    """As it answers by default."""


class TestTorqueWithOptions(testing.TorqueWithOptionsLaws):
    """The same laws where the site asks in its own way; answers are the same, so one for each hook will do."""


class TestTorqueWithoutArrays(testing.TorqueWithoutArraysLaws):
    """The same laws where each job is a submission of its own."""


class TestTorqueByCore(testing.TorqueByCoreLaws):
    """The same laws of requests where memory is each core's."""
