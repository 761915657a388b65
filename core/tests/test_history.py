"""What past waits say of the next."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corral.request.quantities import parse_walltime
from corral.scaling.history import (
    ENOUGH,
    MEMORABLE,
    SEEDS,
    Asked,
    Wait,
    advice,
    likely,
    recent,
    summaries,
)
from corral.text.durations import in_words

HOUR, DAY = 3600.0, 86400.0
#: A Wednesday at ten o'clock, wherever the test runs; in no week in which clocks are changed.
NOW = time.mktime((2026, 7, 15, 10, 0, 0, 0, 0, -1))
ASKED = Asked(backend="slurm", queue="batch", cores=8, memory=10**9, walltime=4 * HOUR)

_numbers = itertools.count()


def wait(ago: float, waited: float, submission: str = "", asked: Asked = ASKED, **fields: Any) -> Wait:
    """A job that was submitted so long ago (s)."""
    number = next(_numbers)
    return Wait(
        asked=asked,
        submission=submission or f"c-{number}",
        job=str(number),
        submitted=NOW - ago,
        **{"waited": waited, "started_up": 10.0, **fields},
    )


def waits_of(*found: Wait, asked: Asked = ASKED) -> list[float]:
    return likely(found, asked, NOW)[0]


# --- what to expect ---------------------------------------------------------------------------------------------


def test_without_a_history_nothing_is_expected() -> None:
    assert likely([], ASKED, NOW) == ([], [])


def test_a_group_begins_with_what_jobs_like_its_own_took() -> None:
    """To their first workers, oldest first; and from their starts, where somebody saw them."""
    found = [wait(HOUR, 60.0), wait(2 * HOUR, 600.0, started_up=None), wait(3 * HOUR, 30.0, started_up=5.0)]
    assert likely(found, ASKED, NOW) == ([35.0, 600.0, 70.0], [5.0, 10.0])


@pytest.mark.parametrize(
    ("asked", "is_alike"),
    [
        (evolve(ASKED, backend="pbs"), False),
        (evolve(ASKED, queue="other"), False),
        (evolve(ASKED, directives="0f"), False),
        (evolve(ASKED, gpus=1), False),
        (evolve(ASKED, memory=10**12), True),
        (evolve(ASKED, cores=32), True),
        (evolve(ASKED, cores=33), False),
        (evolve(ASKED, cores=2), True),
        (evolve(ASKED, cores=1), False),
        (evolve(ASKED, nodes=4), True),
        (evolve(ASKED, nodes=5), False),
        (evolve(ASKED, walltime=HOUR), True),
        (evolve(ASKED, walltime=HOUR - 1), False),
        (evolve(ASKED, walltime=16 * HOUR), True),
        (evolve(ASKED, walltime=16 * HOUR + 1), False),
        (evolve(ASKED, walltime=None), False),
        (evolve(ASKED, server="SLURM_CONF=/etc/b.conf"), True),
    ],
)
def test_jobs_are_alike_that_compete(asked: Asked, is_alike: bool) -> None:
    """In the same queue, for the same sort of nodes, about as large and about as long."""
    assert bool(waits_of(wait(HOUR, 60.0, asked=asked))) == is_alike
    assert bool(waits_of(wait(HOUR, 60.0), asked=asked)) == is_alike


def test_how_many_gpus_is_no_matter() -> None:
    """One or four: they wait for the same nodes."""
    assert waits_of(wait(HOUR, 60.0, asked=evolve(ASKED, gpus=4)), asked=evolve(ASKED, gpus=1)) == [70.0]


def test_jobs_without_a_walltime_are_alike() -> None:
    """Of one queue all have the same: its default."""
    asked = evolve(ASKED, walltime=None)
    assert waits_of(wait(HOUR, 60.0, asked=asked), asked=asked) == [70.0]


def test_two_servers_are_not_mixed() -> None:
    """Where a variable tells them apart."""
    asked = evolve(ASKED, server="SLURM_CONF=/etc/a.conf")
    other = evolve(ASKED, server="SLURM_CONF=/etc/b.conf")
    assert waits_of(wait(HOUR, 60.0, asked=other), asked=asked) == []


def test_what_is_old_or_not_yet_is_passed_over() -> None:
    """A month ago the queue was another; and a clock may be wrong."""
    found = [wait(MEMORABLE + 1, 60.0), wait(-1.0, 60.0), wait(MEMORABLE, 80.0)]
    assert waits_of(*found) == [90.0]


def test_the_latest_count() -> None:
    """In whatever order they are read."""
    found = [wait(8 * HOUR + number * 60, float(number)) for number in range(100)]
    random.Random(0).shuffle(found)
    assert sorted(waits_of(*found)) == [10.0 + number for number in range(SEEDS)]


def test_the_same_time_of_day_counts_alone_if_it_is_known() -> None:
    """On a working day at ten: not what nights and weekends were like, however recent."""
    night = [wait(number * DAY + 8 * HOUR, 5.0) for number in range(2)]
    weekend = [wait(4 * DAY, 7.0), wait(3 * DAY, 7.0)]  # Saturday, Sunday
    same = [wait(days * DAY + shift, 600.0) for days in (1, 2, 5, 6) for shift in (-3 * HOUR, 3 * HOUR)]
    assert len(same) == ENOUGH
    assert waits_of(*night, *weekend, *same) == [610.0] * ENOUGH
    assert sorted(waits_of(*night, *weekend, *same[1:])) == [15.0, 15.0, 17.0, 17.0, *[610.0] * (ENOUGH - 1)]


def test_midnight_is_no_wall() -> None:
    """Half past eleven in the evening is near to one in the morning."""
    now = NOW + 15 * HOUR  # Thursday, one o'clock
    late = [evolve(wait(0, 600.0), submitted=now - 1.5 * HOUR - number * DAY) for number in range(2)]
    late += [evolve(wait(0, 600.0), submitted=now - 1.0 * HOUR - number) for number in range(6)]
    noon = [evolve(wait(0, 5.0), submitted=now - 13 * HOUR) for _ in range(3)]
    assert likely([*late, *noon], ASKED, now)[0] == [610.0] * 8


def test_half_of_what_is_expected_may_be_of_one_submission() -> None:
    """A hundred jobs that waited for the same gap are one experience; of these, quick ones and slow ones count."""
    array = [wait(HOUR, float(number), "c-array", count=100) for number in range(100)]
    others = [wait(2.5 * HOUR + number, 5000.0) for number in range(1, 31)]
    found = waits_of(*array, *others)
    assert len(found) == SEEDS
    assert found.count(5010.0) == SEEDS // 2
    assert sorted(found)[: SEEDS // 2] == [15.0 + 10 * number for number in range(SEEDS // 2)]
    assert len(waits_of(*array)) == SEEDS, "if there are no others, all are"
    assert len(waits_of(*array, *others[:3])) == SEEDS


@given(
    st.lists(
        st.tuples(
            st.floats(-DAY, 40 * DAY), st.floats(0, 1e6), st.sampled_from("abc"), st.none() | st.floats(0, 1e4),
            st.sampled_from([1, 8, 64]), st.sampled_from([None, HOUR, 4 * HOUR]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_whatever_is_remembered_what_is_expected_was(found: list[tuple[Any, ...]]) -> None:
    """At most twenty waits, each of which a job had."""
    remembered = [
        wait(ago, waited, submission, evolve(ASKED, cores=cores, walltime=walltime), started_up=start_up)
        for ago, waited, submission, start_up, cores, walltime in found
    ]
    waits, starts = likely(remembered, ASKED, NOW)
    assert len(starts) <= len(waits) <= SEEDS
    alike = [each for each in recent(remembered, NOW) if waits_of(each)]
    assert set(waits) <= {each.took for each in alike}
    assert len(waits) >= min(ENOUGH, len(alike))


# --- what would start sooner ------------------------------------------------------------------------------------

LONG = evolve(ASKED, walltime=24 * HOUR)


def several(asked: Asked, waited: float, count: int = ENOUGH) -> list[Wait]:
    return [wait((number + 1) * HOUR, waited, asked=asked) for number in range(count)]


def test_shorter_jobs_that_fit_a_gap_are_told() -> None:
    """With the figures, and in words that can be typed."""
    found = [*several(LONG, 2 * HOUR), *several(evolve(LONG, walltime=2 * HOUR), 40.0)]
    [told] = advice(found, LONG, NOW)
    assert str(told) == (
        "in queue 'batch' jobs of at most 2 h have usually waited 40 s, those of 24 h 2 h: walltime='2h' would "
        "start sooner"
    )
    assert parse_walltime("walltime", "2h") == told.less
    assert advice(found, evolve(LONG, queue="other"), NOW) == []
    assert advice(found, evolve(LONG, gpus=1), NOW) == []


def test_the_longest_of_those_that_start_soon_is_told() -> None:
    """Not the shortest; and the shortest do not make longer ones look quick."""
    found = [
        *several(LONG, 2 * HOUR),
        *several(evolve(LONG, walltime=12 * HOUR), 2 * HOUR),
        *several(evolve(LONG, walltime=4 * HOUR), 60.0),
        *several(evolve(LONG, walltime=HOUR), 10.0, 40),
    ]
    [told] = advice(found, LONG, NOW)
    assert (told.less, told.short) == (4 * HOUR, 60.0)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (several(LONG, 2 * HOUR, ENOUGH - 1), several(evolve(LONG, walltime=HOUR), 40.0)),
        (several(LONG, 2 * HOUR), several(evolve(LONG, walltime=HOUR), 40.0, ENOUGH - 1)),
        (several(LONG, 2 * HOUR), several(evolve(LONG, walltime=HOUR), 2500.0)),
        (several(LONG, 60.0), several(evolve(LONG, walltime=HOUR), 5.0)),
        (several(LONG, 2 * HOUR), several(evolve(LONG, walltime=13 * HOUR), 5.0)),
        (several(LONG, 2 * HOUR), several(evolve(LONG, walltime=HOUR, cores=1), 5.0)),
        (several(LONG, 2 * HOUR), several(evolve(LONG, walltime=None), 5.0)),
        (several(LONG, 2 * HOUR), [wait(HOUR, 5.0, "c-1", evolve(LONG, walltime=HOUR)) for _ in range(20)]),
    ],
    ids=["few long", "few short", "not a third", "not a minute", "not half", "smaller too", "default", "one array"],
)
def test_what_is_not_clear_is_not_told(long: list[Wait], short: list[Wait]) -> None:
    assert advice([*long, *short], LONG, NOW) == []


def test_smaller_jobs_are_told() -> None:
    """In cores, or in nodes if there are several."""
    large = evolve(ASKED, cores=64)
    [told] = advice([*several(large, HOUR), *several(evolve(large, cores=16), 30.0)], large, NOW)
    assert "jobs of at most 16 cores have usually waited 30 s, those of 64 1 h: cores=16 would start" in str(told)
    wide = evolve(ASKED, queue="", nodes=8)
    [told] = advice([*several(wide, HOUR), *several(evolve(wide, nodes=1), 30.0)], wide, NOW)
    assert str(told).startswith("in the default queue jobs of at most 1 node have")
    assert "nodes=1 would start" in str(told)


# --- what was ---------------------------------------------------------------------------------------------------


def test_queues_are_summed_up() -> None:
    """By backend and queue, with quarters and advice for what most jobs ask for."""
    found = [
        *several(LONG, 2 * HOUR, 30),
        *several(evolve(LONG, walltime=2 * HOUR), 40.0, 10),
        wait(HOUR, 5.0, asked=evolve(ASKED, backend="pbs", queue=""), started_up=None),
        wait(MEMORABLE + 1, 5.0, asked=evolve(ASKED, backend="lsf")),
    ]
    pbs, slurm = summaries(found, NOW)
    assert (pbs.backend, pbs.queue, len(pbs.waits), pbs.start_up) == ("pbs", "", 1, None)
    assert (slurm.queue, len(slurm.waits), slurm.start_up) == ("batch", 40, 10.0)
    assert [slurm.waited(part) for part in (0.2, 0.25, 0.5, 0.75)] == [40.0, 2 * HOUR, 2 * HOUR, 2 * HOUR]
    assert [each.less for each in slurm.advice] == [2 * HOUR]


def test_two_servers_are_two_rows() -> None:
    """If a variable tells them apart; whoever lacks it is no third."""
    one, other = (evolve(ASKED, server=f"SLURM_CONF=/etc/{name}.conf") for name in "ab")
    assert [each.server for each in summaries([wait(HOUR, 1.0), wait(HOUR, 2.0, asked=one)], NOW)] == [""]
    both = summaries([wait(HOUR, 1.0), wait(HOUR, 2.0, asked=one), wait(HOUR, 3.0, asked=other)], NOW)
    assert [(each.server[-6:], sorted(wait.waited for wait in each.waits)) for each in both] == [
        ("a.conf", [1.0, 2.0]),
        ("b.conf", [1.0, 3.0]),
    ]


def test_a_trace_is_in_the_order_of_submissions() -> None:
    """Each until the start: of a job whose start nobody saw, what starting takes is left out."""
    found = [wait(10, 5.0), wait(HOUR, 60.0, started_up=None), wait(2 * HOUR, 8000.0), wait(20, 3.0, started_up=None)]
    [summary] = summaries(found, NOW)
    assert summary.trace() == [8000.0, 50.0, 0.0, 5.0]


# --- as text ----------------------------------------------------------------------------------------------------


def test_a_wait_survives_a_file() -> None:
    """And what a later corral adds is no harm."""
    for each in (wait(HOUR, 60.0), wait(HOUR, 60.0, started_up=None, asked=evolve(ASKED, walltime=None, server="x"))):
        plain = json.loads(json.dumps(each.to_plain()))
        assert Wait.of_plain(plain) == each
        assert Wait.of_plain({**plain, "weather": "rain"}) == each


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("waited", -1.0), ("waited", math.inf), ("waited", math.nan), ("waited", "60"), ("waited", None),
        ("waited", True), ("submitted", None), ("started_up", "soon"), ("cores", 1.5), ("cores", -1),
        ("cores", 10**30), ("walltime", math.inf), ("backend", None), ("queue", "a\x1b[2J"), ("queue", "x" * 501),
        ("job", 7), ("submission", ["c"]),
    ],
)  # fmt: skip
def test_what_corral_does_not_write_is_refused(field: str, value: object) -> None:
    plain = wait(HOUR, 60.0).to_plain()
    with pytest.raises(ValueError):
        Wait.of_plain({**plain, field: value})


@pytest.mark.parametrize("plain", [None, [], "wait", 7, {}, {"backend": "slurm"}, {"asked": {"backend": "slurm"}}])
def test_what_is_no_wait_is_refused(plain: object) -> None:
    with pytest.raises(ValueError):
        Wait.of_plain(plain)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (40.4, "40 s"), (90, "1.5 min"), (3600, "1 h"), (5400, "1.5 h"), (86400, "24 h"), (259200, "3 d")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
