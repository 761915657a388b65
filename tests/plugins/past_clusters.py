"""Histories of clusters that never were, for tests of what is made of them."""

from __future__ import annotations

import random

from corral.view.history import History
from corral.view.journal import Head, Sample
from corral.view.overview import FailureView, GroupView, JobView, Load, Overview

#: What tries to be markup, a script, an attribute's end, a terminal's command, or to be read backwards.
HOSTILE = "</title></text><script>alert(1)</script>\"' onload=alert(1) & \x1b]0;x\x07 \u202egnp.exe \ud800"
BEGAN = 1_772_000_000.0
UUID = "0123456789abcdef" * 2


def history(jobs: int, *, text: str = "", seed: int = 0) -> History:
    """A cluster that had so many jobs in two groups; some wait, some have failed.

    Parameters
    ----------
    text
        Is in all that comes from elsewhere.
    """
    pick = random.Random(seed)
    made = sorted((_job(number, pick, text) for number in range(jobs)), key=lambda job: job.submitted)
    now = max([BEGAN + 600.0, *(job.ended or 0.0 for job in made)])
    failures = sorted((_failure(job, text) for job in made if job.has_failed), key=lambda each: each.moment)
    names = ("cpu" + text, "gpu" + text) if jobs > 3 else ("cpu" + text,)
    groups = tuple(_group(name, made) for name in names)
    samples, peak = [], 0
    for moment in sorted({moment for job in made for moment in (job.connected, job.ended) if moment is not None}):
        there = sum(1 for job in made if (job.connected or now) <= moment < (job.ended or now + 1))
        peak = max(peak, there)
        wanted = sum(1 for job in made if job.submitted <= moment < (job.ended or now + 1))
        samples.append(Sample(moment=moment, workers=there, wanted=wanted, peak=peak))
    overview = Overview(
        name="simulation" + text,
        backend="slurm" + text,
        status="closed",
        moment=now,
        began=BEGAN,
        groups=groups,
        jobs=tuple(made),
        failures=tuple(failures),
        load=Load(),
    )
    head = Head(name=overview.name, uuid=UUID, backend=overview.backend, began=BEGAN, host="login1" + text)
    return History(head=head, overview=overview, samples=tuple(samples), is_closed=True)


def _job(number: int, pick: random.Random, text: str) -> JobView:
    submitted = BEGAN + number // 40 * 300.0 + pick.random()
    started = submitted + pick.lognormvariate(4.5, 1.2)
    connected = started + 8 + 10 * pick.random()
    leaving = connected + 600 + 3000 * pick.random()
    group = "gpu" if number % 5 == 4 else "cpu"
    waits, works = number % 29 == 28, number % 31 == 30
    has_failed = number % 17 == 5 and not waits and not works
    outcome = pick.choice(["lost", "died", "cancelled from outside"]) if has_failed else ""
    return JobView(
        id=f"77_{number}{text}",
        group=group + text,
        phase="waiting" if waits else "working" if works else "ended",
        state="pending" + text,
        condition="connected" + text,
        reason="Priority" + text,
        hosts=(f"node{number % 40}{text}",),
        expected_workers=1,
        cores=8,
        submitted=submitted,
        started=None if waits else started,
        connected=None if waits or outcome == "died" else connected,
        leaving=None if waits or works or outcome else leaving,
        ended=None if waits or works else leaving + 30 if not outcome else connected + 200 * pick.random(),
        why=f"NODE_FAIL, on node{number % 40}{text}" if outcome else f"COMPLETED, exit code 0{text}",
        outcome=outcome,
        log=f"/scratch/logs/77_{number}.log{text}",
    )


def _failure(job: JobView, text: str) -> FailureView:
    return FailureView(
        job=job.id,
        group=job.group,
        moment=job.ended or 0.0,
        cause=f"its node failed ({job.outcome}){text}",
        outcome=job.outcome,
        hint="Ask the centre what happened to the node." + text,
        hosts=job.hosts,
        tasks=(f"sum-{job.id}",),
        log=job.log,
        log_tail=(f"slurmstepd: error: node failure{text}", "Traceback (most recent call last):" + text),
    )


def _group(name: str, jobs: list[JobView]) -> GroupView:
    mine = [job for job in jobs if job.group == name]
    hours = sum(8 * ((job.ended or job.submitted) - job.submitted) / 3600 for job in mine)
    used = {"busy": 0.7 * hours, "idle": 0.15 * hours, "starting": 0.06 * hours, "draining": 0.05 * hours}
    return GroupView(
        name=name,
        queue="batch",
        cores=8,
        memory=32_000_000_000,
        gpus=1 if name.startswith("gpu") else 0,
        wanted=10,
        adapts=True,
        maximum=200,
        ended=sum(1 for job in mine if job.phase == "ended"),
        failed=sum(1 for job in mine if job.has_failed),
        core_hours={**used, "interrupted": 0.04 * hours},
        gpu_hours={use: each / 8 for use, each in used.items()} if name.startswith("gpu") else {},
        peak_memory=9_600_000_000,
        busy_cores=6.2,
        advice=('memory="12GB" would have been enough: 9.6 GB at the peak of 32 GB',),
    )
