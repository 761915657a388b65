"""What processes of one user share of the questions to a batch system, and of its answers: as values, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, fields, frozen

from corral.plugin.values import JobId, JobState, JobStatus

#: So long a cluster's jobs are asked about after its process was last seen (s).
EXPIRY = 120.0


@frozen(kw_only=True)
class Answer:
    """What the batch system said, to whoever asked."""

    #: On the watch's clock.
    asked_at: float
    #: Whom it was asked about. Those of them that are not in `jobs` were not listed.
    asked: frozenset[JobId]
    jobs: Mapping[JobId, JobStatus]

    def about(self, job_ids: Iterable[JobId]) -> Answer:
        """The part of it that concerns these jobs."""
        asked = self.asked & frozenset(job_ids)
        return evolve(self, asked=asked, jobs={job_id: self.jobs[job_id] for job_id in asked if job_id in self.jobs})

    def content(self) -> dict[str, Any]:
        """As JSON has it: what `read` reads."""
        jobs = {}
        for job_id, status in self.jobs.items():
            values = {each: getattr(status, each.name) for each in fields(JobStatus)}
            jobs[job_id.text] = {each.name: value for each, value in values.items() if value != each.default}
            jobs[job_id.text]["state"] = status.state.name
        return {"asked_at": self.asked_at, "asked": [_words(job_id) for job_id in self.asked], "jobs": jobs}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Answer | None:
        """None if it is nothing that this version has written."""
        try:
            asked = frozenset(map(_job_id, content["asked"]))
            jobs = {
                JobId(text): JobStatus(**{**values, "state": JobState[values["state"]]})
                for text, values in content["jobs"].items()
            }
            return cls(asked_at=float(content["asked_at"]), asked=asked, jobs=jobs)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


@frozen(kw_only=True)
class Enquiry:
    """What is shared of the questions to one batch system."""

    #: By owner: until when its jobs are wanted, and which.
    wanted: Mapping[str, tuple[float, tuple[JobId, ...]]] = field(factory=dict)
    #: Who is asking, and when that was last seen to go on.
    asking: str = ""
    beat: float = 0.0
    #: When the last answer was asked for, and why there was none; empty if there was.
    answered_at: float = float("-inf")
    failure: str = ""

    def wanting(self, name: str, mine: frozenset[JobId], now: float) -> Enquiry:
        """The same, with what this owner wants now; itself if that is nothing new."""
        until, ids = self.wanted.get(name, (0.0, ()))
        if until - now > EXPIRY / 2 and mine == set(ids) and all(other > now for other, _ in self.wanted.values()):
            return self
        others = {other: want for other, want in self.wanted.items() if want[0] > now}
        return evolve(self, wanted={**others, name: (now + EXPIRY, tuple(mine))})

    def content(self) -> dict[str, Any]:
        """As JSON has it, which has no infinity: what `read` reads."""
        content: dict[str, Any] = {
            "wanted": {
                owner: [until, [_words(job_id) for job_id in ids]] for owner, (until, ids) in self.wanted.items()
            },
            "asking": self.asking,
            "beat": self.beat,
            "failure": self.failure,
        }
        if self.answered_at > float("-inf"):
            content["answered_at"] = self.answered_at
        return content

    @classmethod
    def read(cls, content: Mapping[str, Any], now: float) -> Enquiry:
        """An empty one if it is nothing that this version has written."""
        try:
            wanted = {
                str(owner): (float(until), tuple(map(_job_id, ids)))
                for owner, (until, ids) in content["wanted"].items()
            }
            answered_at = float(content.get("answered_at", float("-inf")))
            return cls(
                # What claims to be of the future is not believed.
                wanted={owner: want for owner, want in wanted.items() if want[0] <= now + EXPIRY},
                asking=str(content["asking"]),
                beat=float(content["beat"]),
                answered_at=answered_at if answered_at <= now else float("-inf"),
                failure=str(content["failure"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()


def _words(job_id: JobId) -> list[str]:
    return [job_id.text, job_id.where]


def _job_id(words: Any) -> JobId:
    text, where = words
    # It becomes a word of a command.
    if not isinstance(text, str) or not text.isprintable() or not text or text[0] == "-" or " " in text:
        raise ValueError(f"{text!r} is not an id")
    return JobId(text, where=str(where))
