"""A refusal by the batch system leads to the argument that it is about."""

from __future__ import annotations

import pytest

from corral.batch.refusals import advice


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("invalid partition specified: nosuch; Invalid partition name specified", ". See queue="),
        ("Invalid account or account/partition combination specified", ". See queue= and account="),
        (
            "Memory specification can not be satisfied; Requested node configuration is not available",
            ". See memory= and cores=",
        ),
        ("Requested time limit is invalid (missing or exceeds some limit)", ". See walltime="),
        ("Invalid qos specification", ". See extra_directives="),
        ("Invalid node name specified", ". See extra_directives="),
        ("Unknown queue MSG=cannot locate queue", ". See queue="),
        ('Unable to run job: job rejected: the "nosuch" project does not exist', ". See account="),
        ("Batch script is empty", ""),
    ],
)
def test_the_words_of_a_refusal_name_the_arguments(message: str, words: str) -> None:
    """Of Slurm, TORQUE and Grid Engine."""
    assert words == advice(message)
