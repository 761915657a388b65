"""What a script asks for, read from its directives."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corral.local.request import (
    Refused,
    Request,
    header_directives,
    read_memory,
    read_request,
    read_walltime,
    write_memory,
    write_walltime,
)


def test_every_directive_has_a_meaning() -> None:
    """All that a job can ask for."""
    directives = [
        *("--name=dask-1", "--queue=local", "--account=physics", "--cores=4", "--memory=8GiB", "--gpus=2"),
        *("--time=26:00:00", "--output=/logs/{id}.log", "--hold"),
    ]
    assert read_request(directives) == Request(
        name="dask-1",
        queue="local",
        account="physics",
        cores=4,
        memory=8 * 2**30,
        gpus=2,
        walltime=26 * 3600,
        output="/logs/{id}.log",
        hold=True,
    )


def test_a_value_may_hold_anything_but_a_line_break() -> None:
    """What stands behind the first ``=`` is the value, blanks and all."""
    assert read_request(["--name= a=b --cores=9 "]).name == " a=b --cores=9 "


def test_the_later_of_two_directives_counts() -> None:
    """So an extra directive overrides one of ours."""
    assert read_request(["--cores=1", "--cores=2"]).cores == 2


def test_what_means_nothing_is_kept() -> None:
    """For whoever refuses it or passes it on."""
    assert read_request(["--qos=high", "stray", "--hold=yes"]).unknown == ("--qos=high", "stray", "--hold=yes")


def test_directives_end_where_the_script_begins() -> None:
    """A line like a directive in the body, or in a text that the script prints, is none."""
    script = "#!/bin/sh\n#CORRAL --cores=2\n\n# a comment\n#CORRAL --name=x\r\necho\n#CORRAL --cores=9\n"
    assert header_directives(script) == ["--cores=2", "--name=x"]


@settings(deadline=None)
@given(st.integers(0, 2**60))
@example(32 * 10**9)
def test_memory_is_written_exactly(amount: int) -> None:
    """Whatever unit is shortest, the number of bytes is the same."""
    assert read_memory(write_memory(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (1, "1"), (2**30, "1GiB"), (32 * 10**9, "32GB"), (1000 * 2**20, "1000MiB")]
)
def test_memory_is_written_as_people_would(amount: int, text: str) -> None:
    """In the unit that needs the fewest characters."""
    assert write_memory(amount) == text


@settings(deadline=None)
@given(st.integers(0, 10**7))
def test_walltime_is_written_exactly(seconds: int) -> None:
    """Hours, minutes and seconds, however many hours."""
    assert read_walltime(write_walltime(seconds)) == seconds


@pytest.mark.parametrize(
    "directive",
    [
        *("--cores=four", "--cores=-1", "--cores=", "--cores=٣", "--gpus=1.5"),
        *("--memory=4 gallons", "--memory=-1GB", "--memory=1e9"),
        *("--time=00:30", "--time=1:60:00", "--time=one hour"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(directive: str) -> None:
    """The message begins with the directive as it was written."""
    with pytest.raises(Refused, match=directive.replace("+", r"\+")):
        read_request([directive])
