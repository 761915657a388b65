"""The journal of a cluster: what is written down of it while it lives; `corral.view.history` reads it.

A file of lines, each a JSON object. The first says whose it is, and in which format; each of the others says what has
changed since, at the moment ``t`` (s since the epoch)::

    {"corral_journal": 1, "name": "simulation", "uuid": "…", "backend": "slurm", "began": 1767225600.0, …}
    {"t": 1767225601.2, "job": {"id": "77_0", "group": "default", "phase": "waiting", "submitted": …}}
    {"t": 1767225660.0, "job": {"id": "77_0", "group": "default", "phase": "working", "started": …}}
    {"t": 1767225660.0, "group": {"name": "default", "wanted": 10}}
    {"t": 1767225660.0, "sample": {"workers": 3, "wanted": 10, "core_hours": 0.01}}
    {"t": 1767225700.0, "failure": {"job": "77_0", "group": "default", "cause": "…"}}
    {"t": 1767229200.0, "status": "closed"}

A line of a job or group holds the fields of `JobView` or `GroupView` that have changed, so that all lines together are
an `Overview`. The last line may be torn, and others may be damaged: what cannot be read is passed over, and counted.

A journal never grows beyond `LARGEST`. The longer it is, the more rarely it says how the cluster stands; from `FULL` on
it says so, and goes on with ends and failures alone.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen

from corral.view.overview import FailureView, GroupView, JobView, Overview
from corral.view.plain import plain_fields

#: Of the first line. A journal of a later one is not read.
FORMAT = 1
#: The last word of one, if its cluster closed.
CLOSED = "closed"
#: Bytes of a journal, at most; from where on it holds ends and failures alone.
LARGEST, FULL = 16 * 2**20, 12 * 2**20
#: How often it says how many workers there are, if their number changes, and what was used so far (s): as long as it
#: is shorter than a megabyte. From then on as many times more rarely as it has megabytes.
STEP, INTERVAL = 0.5, 60.0
#: How often it says that the cluster lives, if nothing changes at all (s).
SILENCE = 600.0

#: What changes all the time is written with what else has changed, and now and then.
_JOB_ASIDE = frozenset({"reason", "condition", "expected_start"})
_GROUP_ASIDE = frozenset(
    {
        "because", "core_hours", "gpu_hours", "peak_memory", "busy_cores", "advice", "expected_start", "waiting_since",
        "workers",
    }
)  # fmt: skip
#: Counted when it is read.
_COUNTED = frozenset({"jobs", "ended", "failed"})

Line = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")


@frozen(kw_only=True)
class Head:
    """Whose journal it is."""

    name: str
    uuid: str
    backend: str
    #: Seconds since the epoch.
    began: float
    #: Of the process that wrote it.
    host: str = ""
    #: The version of corral.
    corral: str = ""
    #: The host to which its commands are carried; empty: its own.
    via: str = ""

    def to_line(self) -> Line:
        return {"corral_journal": FORMAT, **plain_fields(self)}


@frozen(kw_only=True)
class Sample:
    """How a cluster stood at one moment."""

    #: Seconds since the epoch.
    moment: float
    #: Connected, wanted, and the most that there have been so far.
    workers: int = 0
    wanted: int = 0
    peak: int = 0
    #: So far.
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    #: Jobs, and failures of jobs and workers, so far.
    jobs: int = 0
    failures: int = 0
    #: Tasks that run or are about to, and that wait.
    processing: int = 0
    queued: int = 0


# --- writing ----------------------------------------------------------------------------------------------------


@frozen
class News:
    """What is to be written, and what will have been written then."""

    lines: list[Line]
    jobs: dict[tuple[str, str], JobView]
    groups: dict[str, GroupView]
    failures: frozenset[FailureView]
    sample: Sample | None
    has_said_full: bool


@define
class Pen:
    """Knows what a journal says, and so what is new."""

    _jobs: dict[tuple[str, str], JobView] = field(factory=dict)
    _groups: dict[str, GroupView] = field(factory=dict)
    _failures: frozenset[FailureView] = frozenset()
    _sample: Sample | None = None
    _has_said_full: bool = False
    #: Jobs and failures so far.
    _seen: set[tuple[str, str]] = field(factory=set)
    _failed: int = 0
    _peak: int = 0

    def news(self, overview: Overview, size: int, *, is_last: bool = False) -> News:
        """What is to be written down of this; `written` says that it was.

        Parameters
        ----------
        size
            Of the journal, in bytes.
        is_last
            The cluster has closed.
        """
        is_full = size >= FULL
        sample = self._sample_of(overview)
        is_due = is_last or self._is_due(sample, size)
        jobs = self._changed_jobs(overview, is_full=is_full)
        groups = self._changed_groups(overview, is_due=is_due) if is_last or not is_full else {}
        lines: list[Line] = [{"job": found} for found in jobs.values()]
        lines += [{"group": found} for found in groups.values()]
        lines += [{"failure": plain_fields(each)} for each in overview.failures if each not in self._failures]
        if is_last or (not is_full and (is_due or self._is_a_step(sample, size))):
            found = plain_fields(sample)
            del found["moment"]
            lines.append({"sample": found})
        else:
            sample = self._sample  # type: ignore[assignment]
        if is_full and not self._has_said_full:
            lines.append({"full": size})
        if is_last:
            lines.append({"status": CLOSED})
        moment = round(overview.moment, 2)
        return News(
            [{"t": moment, **line} for line in lines],
            # What is no longer shown is forgotten here, too.
            _latest({key_of(job): job for job in overview.jobs}, jobs, self._jobs),
            _latest({group.name: group for group in overview.groups}, groups, self._groups),
            frozenset(overview.failures),
            sample,
            is_full,
        )

    def written(self, news: News) -> None:
        """All of this is in the journal now."""
        self._jobs, self._groups, self._failures = news.jobs, news.groups, news.failures
        self._sample, self._has_said_full = news.sample, news.has_said_full

    def forget(self) -> None:
        """The journal is gone: what is written next is everything."""
        self._jobs, self._groups, self._failures, self._sample, self._has_said_full = {}, {}, frozenset(), None, False

    def _sample_of(self, overview: Overview) -> Sample:
        self._seen |= {key_of(job) for job in overview.jobs}
        self._peak = max(self._peak, overview.workers)
        self._failed = max(self._failed, len(overview.failures))
        return Sample(
            moment=overview.moment,
            workers=overview.workers,
            wanted=overview.workers_wanted,
            peak=self._peak,
            core_hours=overview.core_hours,
            gpu_hours=overview.gpu_hours,
            jobs=len(self._seen),
            failures=self._failed,
            processing=overview.load.processing,
            queued=overview.load.queued + overview.load.no_worker,
        )

    def _is_due(self, sample: Sample, size: int) -> bool:
        before = self._sample
        if before is None:
            return True
        is_quiet = evolve(sample, moment=before.moment) == before
        return sample.moment - before.moment >= (SILENCE if is_quiet else INTERVAL) * _rarity(size)

    def _is_a_step(self, sample: Sample, size: int) -> bool:
        before = self._sample
        assert before is not None, "the first is due"
        is_changed = (sample.workers, sample.wanted) != (before.workers, before.wanted)
        return is_changed and sample.moment - before.moment >= STEP * _rarity(size)

    def _changed_jobs(self, overview: Overview, *, is_full: bool) -> dict[tuple[str, str], Line]:
        found = {}
        for job in overview.jobs:
            key = key_of(job)
            before = self._jobs.get(key)
            if before is job or before == job or (is_full and job.phase != "ended"):
                continue
            changed = plain_fields(job, before)
            if before is None or not changed.keys() <= _JOB_ASIDE:
                found[key] = {"id": job.id, "group": job.group, **changed}
        return found

    def _changed_groups(self, overview: Overview, *, is_due: bool) -> dict[str, Line]:
        found = {}
        for group in overview.groups:
            before = self._groups.get(group.name)
            changed = {name: each for name, each in plain_fields(group, before).items() if name not in _COUNTED}
            if (changed or before is None) and (before is None or is_due or not changed.keys() <= _GROUP_ASIDE):
                found[group.name] = {"name": group.name, **changed}
        for name in self._groups.keys() - {group.name for group in overview.groups}:
            # What it used stays written.
            found[name] = {"name": name, "wanted": 0}
        return found


def key_of(job: JobView) -> tuple[str, str]:
    """What tells a job from all others: two batch systems may give the same id."""
    return job.group, job.id


def _latest(shown: Mapping[K, V], changed: Container[K], before: Mapping[K, V]) -> dict[K, V]:
    """Of each that is shown what was written last: now, or before."""
    return {
        key: value if key in changed else before[key] for key, value in shown.items() if key in changed or key in before
    }


def _rarity(size: int) -> float:
    return max(1.0, size / 2**20)


def encoded(lines: list[Line], room: int) -> bytes:
    """Lines of a file, of as many as there is room for (bytes); the last one always."""
    found = [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines]
    room -= len(found[-1]) if found else 0
    kept = []
    for each in found[:-1]:
        if (room := room - len(each)) < 0:
            break
        kept.append(each)
    return b"".join([*kept, *found[-1:]])
