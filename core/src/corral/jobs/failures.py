"""What ended unexpectedly, as people read it."""

from __future__ import annotations

from corral.jobs.record import JobFailure
from corral.jobs.worker_failures import WorkerFailure

#: So many are told in full.
_SHOWN = 10


class Failures(tuple[JobFailure | WorkerFailure, ...]):
    """Failures, oldest first, that are shown as sentences with their evidence; of those that are alike, the newest."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return "no failures"
        kinds = self.by_kind()
        lines = [f"... {len(kinds) - _SHOWN} earlier kinds of failures ..."] * (len(kinds) > _SHOWN)
        for alike in kinds[-_SHOWN:]:
            more = len(alike) - 1
            lines += [str(alike[-1])] + [f"  and {more:,} before it like this"] * bool(more)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        # Not before somebody looks.
        from corral.jobs.notebook import failures_html

        return failures_html(self)

    def by_kind(self) -> list[Failures]:
        """Those that are alike, whatever their hosts and logs, together; by their newest, oldest first."""
        found: dict[tuple[type, object], list[JobFailure | WorkerFailure]] = {}
        for failure in self:
            kind = (type(failure), failure.kind)
            # Where its newest is.
            found[kind] = [*found.pop(kind, []), failure]
        return [Failures(each) for each in found.values()]
