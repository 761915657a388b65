"""What people see of a cluster in a notebook, as HTML made of values: complete, short, and harmless."""

from __future__ import annotations

import os
import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import made_up
import pytest
from attrs import evolve

from corral.jobs.explanation import Explanation, Explanations
from corral.jobs.failures import Failures
from corral.jobs.record import JobFailure, JobRecord, Jobs, Outcome
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import JobId, JobState, JobStatus
from corral.scaling.account import STATES, Account, Hours, Usage
from corral.scaling.used import Used
from corral.view.failures import alike
from corral.view.markup import sheet
from corral.view.notebook import Message, cluster_html, messages_html, size_in_words
from corral.view.overview import FailureView, GroupView, JobView, Overview

PICTURE = Path(__file__).parents[3] / "docs/pictures/notebook.html"
HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>&\"'\x1b[2J\u202e"


def read(page: str) -> str:
    """The words of a page, whose markup must be well-formed and have no script."""
    assert re.search(r"[\x1b\u202e]", page) is None
    root = ET.fromstring(f"<all>{page}</all>")
    for each in root.iter():
        assert each.tag not in ("script", "img", "iframe", "object")
        assert not any(name.startswith("on") for name in each.attrib)
    for style in root.iter("style"):
        style.text = ""
    return " ".join(" ".join(root.itertext()).split())


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        (0, ["corral-3f9c01ab", "slurm", "running", "Workers: 0 of 0 wanted workers", "fixed at 0 jobs", "Dashboard"]),
        (
            3,
            [
                "Workers: 3 of 9 wanted workers",
                "12.5 of 10,000 core-hours",
                "each 8 cores, 32 GB; 2 workers",
                "1 waiting 1 working",
                "longest wait 13 min: Priority (1); first start expected in 25 min, at",
                "queue 'batch' has 0 of 120 nodes free",
                "3 jobs in a row of group 'gpu' failed",
                "nothing is submitted until you scale again",
                "adapts, 0 to 4 jobs",
                "1 job of big finishing what it does: no longer wanted, since",
                "worker 12_3-0 of job 12_3 of cpu",
                "it ran inc-123, ('shuffle-abc', 7)",
                "and 2 before it like this",
                "/no/such/python: No such file or directory",
                "name the one that has corral with python=",
            ],
        ),
        (
            1000,
            [
                "Workers: 1,480 of 2,060 wanted workers",
                "80.0 GPU-hours",
                "210 waiting 45 starting 700 working 25 draining 10 cancelling",
                "298 ended 14 failed",
                "10 wanted jobs not submitted.",
                "longest wait 2.2 h: Priority (180), Resources (28), QOSMaxJobsPerUserLimit (2)",
                "adapts, 1 to 1,200 jobs",
                "25 jobs of cpu finishing: no longer wanted",
                "120,345 tasks, 2,800 with workers, 90,000 queued",
            ],
        ),
    ],
)
def test_a_cluster_is_told_in_a_few_rows(jobs: int, words: list[str]) -> None:
    """Groups and jobs by phase, waits and reasons, what leaves, and what failed: short, whatever its size."""
    page = cluster_html(made_up.overview(jobs))
    said = read(page)
    assert [each for each in words if each not in said] == []
    assert len(page) - len(sheet()) < 8000
    assert page.count("<tr>") <= 12


def test_the_picture_in_the_documentation_is_one_of_these(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file: with CORRAL_WRITE_PICTURES it is written anew."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        page = cluster_html(evolve(made_up.overview(3), dashboard="")) + "\n"
    finally:
        monkeypatch.undo()
        time.tzset()
    if os.environ.get("CORRAL_WRITE_PICTURES"):
        PICTURE.write_text(page)
    assert PICTURE.read_text() == page


def test_many_groups_and_reasons_are_cut_short() -> None:
    """With how many are not shown."""
    group = GroupView(
        name="g",
        wanted=9,
        jobs=made_up.phases(waiting=9),
        waiting_since=made_up.NOW,
        reasons=tuple((str(n), 1) for n in range(9)),
    )
    leaving = [
        JobView(
            id=str(n), group="g", phase="draining", state="running", condition="draining", submitted=0.0, why=f"w{n}"
        )
        for n in range(9)
    ]
    overview = Overview(
        name="n",
        backend="b",
        moment=made_up.NOW,
        jobs=tuple(leaving),
        groups=tuple(evolve(group, name=f"g{n}") for n in range(40)),
    )
    said = read(cluster_html(overview))
    assert "and 28 more groups" in said
    assert "6 other reasons" in said
    assert "w5" in said
    assert "w6" not in said


def test_sizes_are_told_in_words() -> None:
    """Whether it follows its work, and between which numbers."""
    group = GroupView(name="g", wanted=4)
    assert size_in_words(group) == "fixed at 4 jobs"
    assert size_in_words(evolve(group, wanted=1)) == "fixed at 1 job"
    adapting = evolve(group, adapts=True)
    assert size_in_words(adapting) == "adapts, any number of jobs"
    assert size_in_words(evolve(adapting, minimum=1)) == "adapts, at least 1 job"
    assert size_in_words(evolve(adapting, minimum=1, maximum=1000)) == "adapts, 1 to 1,000 jobs"


def test_a_budget_that_is_spent_is_seen() -> None:
    """In the colour of what somebody must see."""
    page = cluster_html(evolve(made_up.overview(3), maximum_core_hours=12.5))
    assert '<span class="corral-bad">12.5 of 12.5 core-hours: all are used</span>' in page


def test_a_closed_cluster_shows_what_there_was() -> None:
    """Grey, without what no longer means anything."""
    page = cluster_html(evolve(made_up.overview(1000), status="closed", dashboard=""))
    said = read(page)
    assert "corral-closed" in page
    assert "closed: this is what there was" in said
    assert "298 ended 14 failed" in said
    assert "fixed at" not in said


def test_failures_that_are_alike_are_one() -> None:
    """Whatever their hosts; the newest stands for all."""
    job, worker = (
        FailureView(job="1", group="g", cause="FAILED, on n1", hosts=("n1",)),
        FailureView(job="1", worker="1-0", group="g", cause="FAILED"),
    )
    other = evolve(job, job="2", cause="FAILED, on n2", hosts=("n2",))
    kinds = alike([job, worker, other, evolve(job, hint="h")])
    assert [(each.last.job, each.last.worker, each.number) for each in kinds] == [
        ("1", "", 1),
        ("2", "", 2),
        ("1", "1-0", 1),
    ]


def test_what_failed_stays_the_same_text_while_time_passes() -> None:
    """What somebody has unfolded is not folded by the next second."""
    overview = made_up.overview(3)
    later = evolve(overview, moment=overview.moment + 30)
    failures = [page.partition("Failures (")[2] for page in (cluster_html(overview), cluster_html(later))]
    assert failures[0] == failures[1] != ""


def test_whatever_others_say_is_text() -> None:
    """Names, reasons, hosts, keys, logs and messages, in every form."""
    group = evolve(
        made_up.overview(3).groups[0], name=HOSTILE, queue=HOSTILE, backend=HOSTILE, trouble=HOSTILE, waiting=HOSTILE,
        reasons=((HOSTILE, 1),),
    )  # fmt: skip
    failure = evolve(
        made_up.failures(3)[-1], job=HOSTILE, worker=HOSTILE, group=HOSTILE, cause=HOSTILE, hint=HOSTILE,
        hosts=(HOSTILE,), tasks=(HOSTILE,), log=HOSTILE, log_tail=(HOSTILE,),
    )  # fmt: skip
    job = evolve(made_up.overview(3).jobs[2], group=HOSTILE, why=HOSTILE)
    overview = evolve(
        made_up.overview(3), name=HOSTILE, backend=HOSTILE, status=HOSTILE, dashboard=HOSTILE, groups=(group,),
        jobs=(job,), failures=(failure,),
    )  # fmt: skip
    assert read(cluster_html(overview)).count("alert(1)") > 10
    assert read(cluster_html(evolve(overview, status="running"))).count("alert(1)") > 10
    message = Message(moment=0.0, words=f"{HOSTILE}\n{HOSTILE}", is_error=True)
    assert read(messages_html([message])).count("alert(1)") == 2
    status = JobStatus(state=JobState.FAILED, reason=HOSTILE, hosts=(HOSTILE,))
    record = JobRecord(id=JobId(HOSTILE), group=HOSTILE, name=HOSTILE, log=HOSTILE, status=status, ended_at=1.0)
    died = WorkerFailure(job=record, worker=HOSTILE, cause=HOSTILE, host=HOSTILE, tasks=(HOSTILE,), hint=HOSTILE)
    ended = JobFailure(job=record, outcome=Outcome.DIED, log_tail=(HOSTILE,), hint=HOSTILE)
    forms = (
        record,
        Jobs([record], 2, HOSTILE),
        Failures([ended, died]),
        Explanations([Explanation(job=HOSTILE, group=HOSTILE, why=HOSTILE, queues=HOSTILE, choice=HOSTILE)]),
        Account(groups={HOSTILE: Usage(busy=1.0)}),
    )
    for form in forms:
        assert "alert(1)" in read(form._repr_html_())


# --- forms of their own -----------------------------------------------------------------------------------------


def records(count: int, state: JobState, **others: object) -> list[JobRecord]:
    return [
        JobRecord(id=JobId(f"{state.value}{n}"), status=JobStatus(state=state, hosts=(f"n{n}",)), **others)  # type: ignore[arg-type]
        for n in range(count)
    ]


def test_a_thousand_jobs_are_a_summary_and_forty_rows() -> None:
    """Some of each phase: of many that work, the few that wait are what is asked about."""
    running = [evolve(each, started_at=1.0, workers=frozenset({"w"})) for each in records(960, JobState.RUNNING)]
    jobs = Jobs([*running, *records(40, JobState.PENDING)], 7, "QOSMaxSubmitJobPerUserLimit")
    page = jobs._repr_html_()
    said = read(page)
    assert "40 waiting 960 working" in said
    assert "7 wanted jobs not submitted QOSMaxSubmitJobPerUserLimit" in said
    assert page.count("<tr>") == 1 + 1 + 1 + 40
    assert said.count("pending") > 10
    assert "and 960 more jobs" in said
    assert read(Jobs(())._repr_html_()) == "no jobs"


def test_one_job_is_told_in_full() -> None:
    """What is not known is not there."""
    [record] = records(1, JobState.RUNNING, started_at=1.0, log="/a/log")
    said = read(record._repr_html_())
    assert "job running0" in said
    assert "phase starting" in said
    assert "hosts n0" in said
    assert "log /a/log" in said
    assert "expected" not in said


def test_failures_are_a_tuple_that_is_shown_as_sentences() -> None:
    """Once for each kind, with the evidence of the newest."""
    failed = [
        JobFailure(job=evolve(each, ended_at=2.0), outcome=Outcome.DIED, log_tail=("not found",), hint="Install it.")
        for each in records(30, JobState.FAILED)
    ]
    died = WorkerFailure(job=records(1, JobState.RUNNING)[0], worker="w", cause="signal 9", host="n7")
    failures = Failures([*failed[:29], died, failed[29]])
    assert isinstance(failures, tuple)
    assert failures[29] is died
    assert repr(failures).count("job failed") == 1
    assert "worker w of job running0 on n7 died: signal 9" in repr(failures)
    assert "and 29 before it like this" in repr(failures)
    said = read(failures._repr_html_())
    assert "31 failures, latest first: job failed29 of default" in said
    assert said.count("Install it.") == 1
    assert repr(Failures()) == read(Failures()._repr_html_()) == "no failures"


def test_an_account_is_a_table() -> None:
    """Hours by use with a bar, what was used beside what was asked for, and what would do."""
    used = Used(
        asked_memory=32 * 10**9, peak_memory=4 * 10**9, enough_memory=6 * 10**9, asked_cores=8, busy_cores=2.1,
        threads=8, seconds=1000.0,
    )  # fmt: skip
    hours: Any = dict(zip(STATES, (120.3, 14.0, 5.0, 1.0, 2.5)))
    account = Account(groups={"cpu": Usage(**hours, used=used), "gpu": Usage(busy=3.0, gpus=Hours(busy=3.0, idle=9.0))})
    page = account._repr_html_()
    said = read(page)
    assert "cpu 120 14.0 5.00 1.00 2.50 143" in said
    assert "all 123 14.0 5.00 1.00 2.50 146" in said
    assert "gpu 3.00 9.00 0 0 0 12.0" in said
    assert "cpu 4 GB 32 GB 2.1 8" in said
    assert "memory='6GB' would do" in said
    assert page.count("corral-bar") - sheet().count("corral-bar") == 4
    assert "Account(" not in repr(account)
    assert "core-hours" in repr(account)


def test_explanations_are_a_table() -> None:
    """A row for each, what never starts as such."""
    explanations = Explanations(
        [
            Explanation(job="7", group="g", state=JobState.PENDING, why="no node is free", queues="batch is full"),
            Explanation(job="8", group="h", why="it will never start: no such queue", never_starts=True),
        ]
    )
    page = explanations._repr_html_()
    assert "job 7 g pending no node is free batch is full" in read(page)
    assert '<span class="corral-bad">it will never start: no such queue</span>' in page
    assert read(Explanations(())._repr_html_()) == "no job is wanted"
