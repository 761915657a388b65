"""A cluster from its beginning to its end, as its journal tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from attrs import define, evolve, field, frozen

from corral.errors import UnreadableJournal
from corral.view.journal import CLOSED, FORMAT, FULL, Head, Line, Sample, key_of
from corral.view.overview import PHASES, FailureView, GroupView, JobView, Load, Overview
from corral.view.plain import structured


@frozen(kw_only=True)
class History:
    """A cluster from its beginning to the end of its journal."""

    head: Head
    #: As it was in the end, with all of its jobs.
    overview: Overview
    samples: tuple[Sample, ...] = ()
    #: False: its last line is not that it has closed. It lives, or its process was killed.
    is_closed: bool = False
    #: What is missing, in sentences.
    notes: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """The most workers that it had."""
        return max([self.overview.workers, *(max(each.workers, each.peak) for each in self.samples)])

    def with_present(self, overview: Overview) -> History:
        """The same with what there is now, of which the journal need not have everything yet."""
        past = self.overview
        jobs = {key_of(job): job for job in (*past.jobs, *overview.jobs)}
        failures = {_which(failure): failure for failure in (*past.failures, *overview.failures)}
        groups = {group.name: group for group in (*past.groups, *overview.groups)}
        everything = tuple(sorted(jobs.values(), key=lambda job: job.submitted))
        return evolve(
            self,
            overview=evolve(
                overview,
                began=self.head.began,
                groups=tuple(_counted(group, everything) for group in groups.values()),
                jobs=everything,
                failures=tuple(failures.values()),
            ),
        )

    @classmethod
    def of(cls, overview: Overview) -> History:
        """Of a cluster without a journal: what it shows now."""
        head = Head(name=overview.name, uuid="", backend=overview.backend, began=overview.began)
        note = "There is no journal of this cluster here: what it has forgotten is missing."
        return cls(head=head, overview=overview, notes=(note,))


def read_head(raw: bytes) -> Head:
    """What the first line says.

    Raises
    ------
    UnreadableJournal
        It is not the first line of a journal, or of one of a later format.
    """
    line, _, _ = raw.partition(b"\n")
    found = _object(line)
    if found is None or type(found.get("corral_journal")) is not int:
        raise UnreadableJournal("its first line is not that of a journal")
    if found["corral_journal"] > FORMAT:
        raise UnreadableJournal(
            f"it was written by corral {found.get('corral', 'of a later version')} in format "
            f"{found['corral_journal']}, and this corral reads format {FORMAT}: read it with that corral"
        )
    try:
        return structured(Head, found)
    except ValueError as error:
        raise UnreadableJournal(f"its first line is damaged: {error}") from None


def read_journal(raw: bytes) -> History:
    """What a journal says, as far as it can be read.

    Raises
    ------
    UnreadableJournal
    """
    head = read_head(raw)
    reading = Reading(head)
    for number, line in enumerate(raw.split(b"\n")):
        if number and line.strip():
            reading.take(line)
    reading.is_torn = not raw.endswith(b"\n")
    return reading.history()


def last_sample(raw: bytes) -> tuple[Sample | None, bool]:
    """What the end of a journal says of how the cluster stood last, and whether it had closed; for lists of many."""
    sample, is_closed = None, False
    for line in reversed(raw.split(b"\n")):
        found = _object(line) or {}
        if "corral_journal" in found:
            break
        is_closed = is_closed or found.get("status") == CLOSED
        if "sample" in found:
            try:
                sample = structured(Sample, {**found["sample"], "moment": found.get("t")})
            except (ValueError, TypeError):
                continue
            break
    return sample, is_closed


@define
class Reading:
    """Puts together what the lines of a journal say."""

    head: Head
    is_torn: bool = False
    _jobs: dict[tuple[str, str], Line] = field(factory=dict)
    _groups: dict[str, Line] = field(factory=dict)
    _failures: dict[tuple[str, str, int], FailureView] = field(factory=dict)
    _samples: list[Sample] = field(factory=list)
    _moment: float = 0.0
    _status: str = ""
    _full_at: float | None = None
    _odd: int = 0
    #: Jobs of an earlier process of the same cluster, of whose ends nothing is known.
    _adrift: set[tuple[str, str]] = field(factory=set)

    def take(self, line: bytes) -> None:
        """One line; what cannot be read is counted."""
        try:
            self._take(_object(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            self._odd += 1

    def _take(self, found: Line | None) -> None:
        if found is None:
            raise ValueError("it is no JSON object")
        if "corral_journal" in found:
            # Its scheduler's job was started again.
            self._adrift = {key for key, job in self._jobs.items() if job.get("phase") != "ended"}
            self._status = ""
            return
        moment = structured(Sample, {"moment": found["t"]}).moment
        if "job" in found:
            key = str(found["job"]["group"]), str(found["job"]["id"])
            self._jobs.setdefault(key, {}).update(found["job"])
            self._adrift.discard(key)
        elif "group" in found:
            self._groups.setdefault(str(found["group"]["name"]), {}).update(found["group"])
        elif "failure" in found:
            self._add(structured(FailureView, found["failure"]))
        elif "sample" in found:
            self._samples.append(structured(Sample, {**found["sample"], "moment": moment}))
        elif "status" in found:
            self._status = str(found["status"])
        elif "full" in found:
            self._full_at = moment
        self._moment = max(self._moment, moment)

    def _add(self, failure: FailureView) -> None:
        # Written anew when the journal was begun anew.
        self._failures[_which(failure)] = failure

    def history(self) -> History:
        """All that was said."""
        jobs = [job for key, found in self._jobs.items() if (job := self._job(key, found)) is not None]
        groups = [group for found in self._groups.values() if (group := self._group(found, jobs)) is not None]
        last = self._samples[-1] if self._samples else Sample(moment=self.head.began)
        head, moment = self.head, max(self._moment, self.head.began)
        return History(
            head=head,
            overview=Overview(
                name=head.name,
                backend=head.backend,
                status=self._status or "running",
                moment=moment,
                began=head.began,
                groups=tuple(groups),
                jobs=tuple(sorted(jobs, key=lambda job: job.submitted)),
                failures=tuple(sorted(self._failures.values(), key=lambda failure: failure.moment)),
                load=Load(workers=last.workers, processing=last.processing, queued=last.queued),
            ),
            samples=tuple(self._samples),
            is_closed=self._status == CLOSED,
            notes=tuple(self._notes()),
        )

    def _job(self, key: tuple[str, str], found: Line) -> JobView | None:
        try:
            job = structured(JobView, found)
        except ValueError:
            self._odd += 1
            return None
        if key not in self._adrift:
            return job
        why = "its cluster was started again before its end was known"
        return evolve(job, phase="ended", ended=job.ended or self._moment, why=why)

    def _group(self, found: Line, jobs: Sequence[JobView]) -> GroupView | None:
        try:
            group = structured(GroupView, found)
        except ValueError:
            self._odd += 1
            return None
        return _counted(group, jobs)

    def _notes(self) -> Iterator[str]:
        if self._full_at is not None:
            yield (
                f"The journal had become so long ({FULL // 2**20} MB) that from then on only ends of jobs and failures "
                "were written down."
            )
        odd = self._odd
        if odd and self.is_torn:
            odd -= 1
            yield "The last line of the journal is torn: what was being written then is missing."
        if odd:
            lines = "1 line of the journal is" if odd == 1 else f"{odd:,} lines of the journal are"
            yield f"{lines} passed over: the file is damaged there."


def _object(line: bytes) -> Line | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _counted(group: GroupView, jobs: Sequence[JobView]) -> GroupView:
    """A group, with the numbers of all of its jobs: an engine forgets those that ended long ago."""
    mine = [job for job in jobs if job.group == group.name]
    ended = [job for job in mine if job.phase == "ended"]
    return evolve(
        group,
        jobs={phase: sum(1 for job in mine if job.phase == phase) for phase in PHASES},
        ended=len(ended),
        failed=sum(1 for job in ended if job.has_failed),
    )


def _which(failure: FailureView) -> tuple[str, str, int]:
    return failure.job, failure.worker, round(failure.moment)
