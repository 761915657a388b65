"""What native requests and answers have in common, read and written."""

from __future__ import annotations

import shlex
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import parsing
from corral.plugin.parsing import Option


@pytest.mark.parametrize(
    ("acl", "is_open"),
    [("you@*", True), ("+you", True), ("eve,you@host", True), ("-you", False), ("eve", False), ("youth", False)],
)
def test_a_queue_may_be_closed_to_a_user(acl: str, is_open: bool) -> None:
    """PBS and TORQUE list it all the same."""
    told = {"enabled": "True", "acl_user_enable": "True", "acl_users": acl}
    assert parsing.listed_queue("q", told, is_default=False, user="you").accepts_jobs is is_open
    assert parsing.listed_queue("q", told, is_default=False, user="").accepts_jobs, "who asks is not known"
    assert parsing.listed_queue("q", {**told, "acl_user_enable": "False"}, is_default=False, user="you").accepts_jobs


def test_nobody_submits_to_a_queue_behind_one_that_routes() -> None:
    """It is listed as enabled, and refuses everybody."""
    told = {"enabled": "True", "from_route_only": "True"}
    assert not parsing.listed_queue("q", told, is_default=False, user="you").accepts_jobs
    assert parsing.listed_queue("q", {**told, "from_route_only": "False"}, is_default=False, user="you").accepts_jobs


def test_a_header_ends_at_the_first_command() -> None:
    """Directives after it are comments to every batch system."""
    text = "#!/bin/bash\n#PBS -N one\n# words\n\n#PBS  -q batch\necho\n#PBS -A no\n"
    assert ("#!/bin/bash", ["-N one", "-q batch"]) == parsing.header(text, "#PBS")


def test_text_without_shebang_and_prefix_is_directives_alone() -> None:
    assert (None, ["-N one", "-q batch"]) == parsing.header("-N one\n\n -q batch\n", "#PBS")


def test_options_are_split_as_a_shell_splits_them() -> None:
    assert [
        Option("N", "two words", "-N 'two words'"),
        Option("pe", "smp 4", "-pe smp 4"),
        Option("V", None, "-V"),
        Option("queue", "batch", "--queue=batch"),
    ] == parsing.options("-N 'two words' -pe smp 4 -V --queue=batch", alone={"V"}, words={"pe": 2})


@pytest.mark.parametrize("line", ["-N 'open", "word", "-q", "-pe smp"])
def test_what_is_no_option_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="."):
        parsing.options(line, words={"pe": 2})


def test_short_options_are_read_as_getopt_does() -> None:
    """With blank or without, several in one word; a quote keeps a backslash, as in PBS."""
    assert [
        Option("N", "dask", "-N dask"),
        Option("j", "oe", "-j oe"),
        Option("h", None, "-h"),
        Option("V", None, "-V"),
        Option("o", "/a b\\c", "-o '/a b\\c'"),
        Option("A", "", "-A ''"),
    ] == parsing.short_options("-N dask -joe -hV -o \"/a b\\c\" -A ''", "A:hj:N:o:V")


@pytest.mark.parametrize("line", ["-x 1", "-N", "dask", "-h dask", "-N 'dask", "-N 'x'\\"])
def test_what_is_no_short_option_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parsing.short_options(line, "hN:")


@settings(deadline=None)
@given(value=st.text(min_size=1))
def test_a_quoted_value_of_a_short_option_is_read_back(value: str) -> None:
    assert [Option("N", value, f"-N {shlex.quote(value)}")] == parsing.short_options(f"-N {shlex.quote(value)}", "N:")


def test_assignments() -> None:
    assert {"mem": "4gb", "walltime": "1:00", "host": ""} == parsing.assignments("mem=4gb, walltime=1:00,host")


@settings(deadline=None)
@given(st.integers(0, 10**7))
def test_times_are_read_as_they_are_written(duration: int) -> None:
    assert duration == parsing.clock_seconds(parsing.hours_and_time(duration))


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("1:30", 90), ("01:00:00", 3600), ("1:00:00:00", 86400)])
def test_clock_seconds(text: str, seconds: int) -> None:
    assert seconds == parsing.clock_seconds(text)


@pytest.mark.parametrize("text", ["", "1-00", "1:2:3:4:5", "-1", "١"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        parsing.clock_seconds(text)


@pytest.mark.parametrize(
    ("text", "unit", "size"),
    [("4gb", "", 2**32), ("512", "M", 2**29), ("512", "", 512), ("512b", "M", 512), ("1.5T", "", 3 * 2**39)],
)
def test_sizes(text: str, unit: str, size: int) -> None:
    assert size == parsing.size_in_bytes(text, unit=unit)


def test_sizes_are_rounded_up() -> None:
    assert 2 == parsing.in_units(2**20 + 1, "M")


@settings(deadline=None)
@given(st.sets(st.integers(0, 200)))
def test_ranges_stand_for_their_numbers(chosen: set[int]) -> None:
    text = parsing.ranges(chosen)
    assert sorted(chosen) == (parsing.numbers(text) if text else [])


@pytest.mark.parametrize("text", ["", "a", "1-", "1-99999999999", "1-5:0"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a list of ranges"):
        parsing.numbers(text)


def test_steps() -> None:
    assert [9, 19, 29, 39, 50] == parsing.numbers("9-39:10,50")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ("n1",)),
        ("n[1,3]", ("n1", "n3")),
        ("n[08-11],g1,m[2]x", ("n08", "n09", "n10", "n11", "g1", "m2x")),
        ("r[1-2]n[09-10]", ("r1n09", "r1n10", "r2n09", "r2n10")),
    ],
)
def test_folded_host_names_are_written_out(text: str, names: tuple[str, ...]) -> None:
    assert names == parsing.host_names(text)


def test_blocks_are_read_with_long_lines_made_whole() -> None:
    """Whatever a wrapper prints before them."""
    text = (
        "Welcome!\nJob Id: 1.a\n    job_state = R\n    exec_host = n1/0+n\n\t2/0\n\nJob Id: 2.a\n    comment = a = b\n"
    )
    assert [
        ("1.a", {"job_state": "R", "exec_host": "n1/0+n2/0"}),
        ("2.a", {"comment": "a = b"}),
    ] == list(parsing.blocks(text, "Job Id"))
    assert not list(parsing.blocks("\n", "Job Id"))


def test_what_has_no_block_is_refused() -> None:
    with pytest.raises(ValueError):
        list(parsing.blocks("Welcome!\n", "Job Id"))


def test_moments_are_read_as_ctime_writes_them() -> None:
    now = time.mktime(time.localtime())
    assert now == parsing.ctime_seconds(time.ctime(now))
    with pytest.raises(ValueError):
        parsing.ctime_seconds("Mon Nov 32 11:50:10 2026")


@pytest.mark.parametrize(
    "said",
    [
        "job arrays are not allowed here",
        "sbatch: error: --array is disabled on this cluster\nsbatch: error: Unspecified error",
        "FAILED\n--> No array jobs on this system.",
        "Job arrays are switched off here (MaxArraySize=0)",
        "qsub: Unsupported: job array",
    ],
)
def test_a_refusal_of_arrays_is_recognised(said: str) -> None:
    """In whatever words a site has."""
    assert parsing.refusal_of_arrays(said) in said.splitlines()


@pytest.mark.parametrize(
    "said",
    [
        "",
        "sbatch: error: Batch job submission failed: Invalid account",
        "Job arrays of more than 100 elements are not allowed",
        "qsub: Array job exceeds server or queue size limit",
        "Job array index too large. Job not submitted.",
        "Welcome to arrays.example.org\nYour project is not active",
    ],
)
def test_another_refusal_is_none_of_arrays(said: str) -> None:
    """Nor one of an array's size."""
    assert parsing.refusal_of_arrays(said) == ""
