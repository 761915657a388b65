"""Ending one certain job, and wanting one less of its group."""

from __future__ import annotations

from attrs import evolve

from corral.cluster.engine_state import EngineState
from corral.cluster.launchers import Launchers
from corral.errors import InvalidRequest
from corral.jobs.group_state import resized
from corral.jobs.record import StopReason


def give_up(job: str, *, state: EngineState, launchers: Launchers) -> None:
    """Have a job end that somebody does not want any more; it is not replaced.

    One that works finishes its tasks and hands over its results; any other is cancelled.

    Raises
    ------
    InvalidRequest
        It has ended, or ends already.
    """
    record = next((record for record in state.roster.jobs if str(record.id) == job), None)
    if record is None or record.has_ended:
        raise InvalidRequest("job", f"job {job} {'is not known' if record is None else 'has ended'}")
    group = state.groups.get(record.group)
    if record.is_leaving or group is None:
        raise InvalidRequest("job", f"job {job} is leaving already")
    group.state = resized(group.state, max(0, group.state.wanted - 1), group.state.release)
    if record.workers:
        launchers.retire(record, StopReason.SURPLUS)
    else:
        # Whatever the group wants, the plan cancels what is to end.
        state.roster.put(evolve(record, stop_reason=StopReason.SURPLUS))
    state.changed(state.system_of(record.group))
