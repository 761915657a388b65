"""Why a plan is what it is: which of its cases decided, and a sentence that names the figures.

``3 jobs wanted, 1 works, 1 waits: submit 1`` is such a sentence. `corral ps --why` shows it, and the log at DEBUG.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable

from corral.errors import counted
from corral.jobs.record import JobRecord
from corral.plugin.values import JobId


class Case(enum.IntEnum):
    """What decides how many jobs a group has next; what each of them means is told at `corral.jobs.plan.plan`."""

    BROKEN = 1
    SURPLUS = 2
    RELIEF = 3
    RELIEVED = 4
    ENOUGH = 5
    REFUSED = 6
    POSTPONED = 7
    SPENT = 8
    WITHHELD = 9
    MISSING = 10


#: What is said of jobs, one and several, in this order. Those of the first six count for what is wanted.
_THERE = {
    "working": ("works", "work"),
    "signalled": ("was signalled to leave", "were signalled to leave"),
    "starting": ("starts", "start"),
    "waiting": ("waits", "wait"),
    "submitting": ("is being submitted", "are being submitted"),
    "to cancel": ("is still to be cancelled", "are still to be cancelled"),
    "leaving": ("leaves soon", "leave soon"),
    "draining": ("drains", "drain"),
    "cancelling": ("is being cancelled", "are being cancelled"),
    "given up": ("has no worker for too long", "have no workers for too long"),
}


def figures(
    wanted: int,
    lasting: Iterable[JobRecord],
    others: Iterable[JobRecord],
    *,
    is_lowered: bool,
    given_up: Collection[JobId],
    submitting: int,
) -> str:
    """``3 jobs wanted, 1 works, 1 waits``: how a group stands.

    Parameters
    ----------
    lasting
        Jobs that count for what is wanted.
    others
        Those that live and do not.
    is_lowered
        More were wanted, until somebody cancelled jobs by hand.
    given_up
        Jobs that have had no worker for too long.
    submitting
        Jobs of submissions that are under way.
    """
    # Until the batch system says why it was signalled, it may be back at once.
    numbers = Counter("signalled" if record.leaving else record.phase.value for record in lasting)
    numbers.update("given up" if record.id in given_up else _kind(record) for record in others)
    numbers["submitting"] = submitting
    parts = [f"{numbers[kind]} {words[numbers[kind] > 1]}" for kind, words in _THERE.items() if numbers[kind]]
    target = f"{counted(wanted, 'job') if wanted else 'no job'} wanted"
    if is_lowered:
        target += " (others were cancelled from outside)"
    return ", ".join([target, *(parts or ["none there"] * (wanted > 0))])


def _kind(record: JobRecord) -> str:
    """What a job is called that does not count."""
    if record.is_lingering:
        return "to cancel"
    return "leaving" if record.is_capacity else record.phase.value


def sentence(case: Case, there: str, why: str = "", *, limit: str = "", **actions: int) -> str:
    """``3 jobs wanted, 1 works, 1 waits: submit 1``.

    Parameters
    ----------
    there
        The figures.
    why
        What else decided; empty if the figures say it all.
    limit
        The cluster's attribute to raise, if what it may use is used up.
    actions
        How many jobs each of them is for; an action for none is left out.
    """
    parts = [f"{action} {number}" for action, number in actions.items() if number]
    match case:
        case Case.BROKEN | Case.REFUSED:
            parts.append("submit none until you scale again")
        case Case.SPENT:
            parts.append(f"submit none until cluster.{limit} is raised")
        case Case.POSTPONED:
            parts.append("try again later")
        case Case.WITHHELD if not actions.get("submit"):
            parts.append("submit none now")
    return f"{there}{f'; {why}' if why else ''}: {', '.join(parts) or 'nothing to do'}"
