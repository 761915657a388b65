"""Metrics of an overview: valid for Prometheus, with units in their names, and counters that only grow."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attrs import evolve

from corral.view.overview import (
    CommandCount,
    FailureCount,
    GroupView,
    JobView,
    Load,
    Overview,
    Spread,
    Totals,
)

prometheus_client = pytest.importorskip("prometheus_client")

#: What Prometheus takes for a unit or a type at the end of a name.
ENDS = ("_total", "_seconds", "_info", "_bucket", "_sum", "_count")
HOSTILE = 'x"} 1\n# HELP evil \\ \u202e<b>'


def overview(**more: Any) -> Overview:
    group = GroupView(
        name=HOSTILE,
        wanted=4,
        workers_per_job=2,
        workers=5,
        jobs={"waiting": 1, "starting": 0, "working": 2, "draining": 1, "cancelling": 0},
        waiting_since=40.0,
        core_hours={"busy": 2.0, "idle": 1.0, "starting": 0.5, "draining": 0.25, "interrupted": 0.0},
        totals=Totals(
            attempted=3,
            submissions={"accepted": 1, "refused": 1, "postponed": 1},
            submitted=4,
            waits=Spread(bounds=(1.0, 60.0), counts=(1, 2, 1), seconds=200.0),
            ended={"died": 2, "wanted": 1},
            failures=(FailureCount(what="job", outcome="died", cause="failed", count=2),),
        ),
    )
    return Overview(
        name=HOSTILE, backend="slurm", moment=100.0, began=7.0, groups=(group,), load=Load(workers=6),
        jobs=(
            JobView(id="1_0", group=HOSTILE, phase="working", state="running", condition="connected", submitted=1.0),
            JobView(id="1_1", group=HOSTILE, phase="ended", state="failed", condition="failed", submitted=1.0),
        ),
        commands=(
            CommandCount(
                backend="slurm", program="squeue", failed=2, times=Spread(bounds=(0.1,), counts=(3, 1), seconds=2.5)
            ),
        ),
        **more,
    )  # fmt: skip


def text_of(found: Overview) -> str:
    from corral.view.metrics import OverviewCollector

    text: str = prometheus_client.generate_latest(OverviewCollector(found)).decode()
    return text


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus reads, by name and labels; fails where two are the same."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge", "histogram", "summary", "info", "unknown"), family.name
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def one(text: str, name: str, **labels: str) -> float:
    """The one value of a name with these labels, whatever others it has."""
    [value] = [each for (found, has), each in samples(text).items() if found == name and set(labels.items()) <= has]
    return value


def test_they_say_what_the_overview_says() -> None:
    """Each number once, in base units."""
    text = text_of(overview(maximum_core_hours=10.0))
    assert one(text, "corral_workers") == 6
    assert one(text, "corral_group_workers") == 5
    assert one(text, "corral_group_wanted_workers") == 8
    assert one(text, "corral_jobs", phase="working") == 2
    assert one(text, "corral_batch_jobs", state="running") == 1
    assert one(text, "corral_oldest_waiting_job_seconds") == 60
    assert one(text, "corral_submission_attempts_total") == 3
    assert one(text, "corral_submissions_total", result="postponed") == 1
    assert one(text, "corral_submitted_jobs_total") == 4
    assert one(text, "corral_queue_wait_seconds_bucket", le="60.0") == 3
    assert one(text, "corral_queue_wait_seconds_count") == 4
    assert one(text, "corral_queue_wait_seconds_sum") == 200
    assert one(text, "corral_ended_jobs_total", outcome="died") == 2
    assert one(text, "corral_failures_total", what="job", cause="failed", outcome="died") == 2
    assert one(text, "corral_command_duration_seconds_count", command="squeue") == 4
    assert one(text, "corral_failed_commands_total", command="squeue", backend="slurm") == 2
    assert one(text, "corral_core_seconds_total", use="busy") == 7200
    assert one(text, "corral_maximum_core_seconds") == 36_000


def test_names_follow_the_conventions() -> None:
    """One prefix, words of letters, a base unit at the end where there is one."""
    for name, _ in samples(text_of(overview())):
        assert re.fullmatch(r"corral(_[a-z]+)+", name), name
        assert "hours" not in name
        assert "core" not in name.split("_") or name.endswith(ENDS)
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text_of(overview())))
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        name for name in kinds if name.endswith("_total")
    }


def test_hostile_names_are_one_label() -> None:
    """Quotation marks, ends of lines and marks that hide what follows end nothing."""
    text = text_of(overview())
    assert "\u202e" not in text
    assert {line.partition("_")[0] for line in text.splitlines() if not line.startswith("#")} == {"corral"}
    groups = {value for _, labels in samples(text) for name, value in labels if name == "group"}
    assert groups == {HOSTILE.replace("\n", "\\n").replace("\u202e", "\\u202e")}


def test_what_turns_out_to_be_for_nothing_takes_nothing_back() -> None:
    """A counter that shrinks is taken for one that began anew: tasks that are cut off move from busy to interrupted."""
    before = overview()
    [group] = before.groups
    hours = {**group.core_hours, "busy": 1.5, "interrupted": 0.5}
    after = evolve(before, groups=(evolve(group, core_hours=hours),))
    assert one(text_of(after), "corral_core_seconds_total", use="busy") == 7200
    assert one(text_of(after), "corral_interrupted_core_seconds_total") == 1800
    first, second = samples(text_of(before)), samples(text_of(after))
    assert all(second[key] >= value for key, value in first.items())


def test_a_cluster_without_jobs_has_all_names() -> None:
    """An alarm on what is missing would never go off otherwise."""
    empty = overview()
    bare = evolve(empty, jobs=(), groups=(GroupView(name="default"),))
    assert one(text_of(bare), "corral_jobs", phase="waiting") == 0
    assert one(text_of(bare), "corral_submissions_total", result="refused") == 0
    assert one(text_of(bare), "corral_queue_wait_seconds_count") == 0
