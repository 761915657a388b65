"""What is remembered of how long jobs have waited, and what follows for others: pure.

How it is kept between clusters is in `corral.cluster.kept_waits`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import Attribute, asdict, field, fields, frozen

from corral.text.durations import in_words
from corral.text.printable import printable

#: What is older tells nothing of a queue as it is now (s).
MEMORABLE = 30 * 86400.0
#: How many waits a group begins with.
SEEDS = 20
#: So many waits are enough to tell one kind of jobs, or one time of day, from the others.
ENOUGH = 8
#: Jobs are alike if one has at most so many times the cores and the walltime of the other.
ALIKE = 4.0
#: Two times of day are the same if they are so close (s).
SAME_TIME = 3 * 3600.0
#: Jobs of one submission wait for the same gap: that many submissions must agree before advice is given.
SUBMISSIONS = 3
#: It is advice if others wait so many times less long, and so much less (s).
SOONER, WORTH_SAYING = 3.0, 60.0


def _is_line(_: object, attribute: Attribute[Any], value: object) -> None:
    if type(value) is not str or value != printable(value) or len(value) > 500:
        raise ValueError(f"{attribute.name} is not one short printable line")


def _is_whole(_: object, attribute: Attribute[Any], value: object) -> None:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{attribute.name} is not a whole number")


def _is_seconds(_: object, attribute: Attribute[Any], value: object) -> None:
    if type(value) not in (int, float) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"{attribute.name} is not a number of seconds")


def _is_seconds_or_unknown(instance: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        _is_seconds(instance, attribute, value)


# --- what is remembered -----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Asked:
    """What a job asks for, and of which queue."""

    backend: str = field(validator=_is_line)
    #: The variables by which commands find the batch system's server: ``SLURM_CONF=/etc/b.conf``; empty: none is set.
    server: str = field(default="", validator=_is_line)
    #: Empty: the batch system's default.
    queue: str = field(default="", validator=_is_line)
    #: A digest of the user's own directives, which may choose a queue or a quality of service; empty: there are none.
    directives: str = field(default="", validator=_is_line)
    nodes: int = field(default=1, validator=_is_whole)
    #: Per node, as the next two; bytes of memory, 0 if none were asked for.
    cores: int = field(default=1, validator=_is_whole)
    memory: int = field(default=0, validator=_is_whole)
    gpus: int = field(default=0, validator=_is_whole)
    #: Seconds; None: the batch system's default.
    walltime: float | None = field(default=None, validator=_is_seconds_or_unknown)

    @property
    def all_cores(self) -> int:
        """Of all nodes."""
        return self.nodes * self.cores

    def competes_with(self, other: Asked) -> bool:
        """True if both wait in the same queue, for the same sort of nodes."""
        mine, others = ((each.backend, each.queue, each.directives, each.gpus > 0) for each in (self, other))
        return mine == others and _is_one_server(self.server, other.server)


@frozen(kw_only=True)
class Wait:
    """How long one job waited."""

    asked: Asked
    #: The unique name under which it was submitted, together with others, and its id.
    submission: str = field(validator=_is_line)
    job: str = field(validator=_is_line)
    #: How many jobs were submitted with it, itself included.
    count: int = field(default=1, validator=_is_whole)
    #: Seconds since the epoch.
    submitted: float = field(validator=_is_seconds)
    #: Seconds from its submission to its start.
    waited: float = field(validator=_is_seconds)
    #: Seconds from its start to its first worker; None: nobody saw the start, and `waited` lasts to the first worker.
    started_up: float | None = field(default=None, validator=_is_seconds_or_unknown)

    @property
    def took(self) -> float:
        """Seconds from its submission to its first worker."""
        return self.waited + (self.started_up or 0.0)

    @property
    def key(self) -> tuple[str, str, str]:
        """No other job has the same."""
        return self.asked.backend, self.submission, self.job

    def to_plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        plain = asdict(self)
        return {**plain.pop("asked"), **plain}

    @classmethod
    def of_plain(cls, plain: object) -> Wait:
        """What `to_plain` made; values that are not known here are left out.

        Raises
        ------
        ValueError
            It is nothing that `to_plain` makes.
        """
        if not isinstance(plain, dict):
            raise ValueError("it is no object")  # noqa: TRY004 - a file is wrong, not a program
        try:
            return cls(asked=Asked(**_known(Asked, plain)), **_known(cls, {**plain, "asked": None}))
        except TypeError as error:
            raise ValueError(str(error)) from None


def _known(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    names = {attribute.name for attribute in fields(kind)} - {"asked"}
    return {name: value for name, value in plain.items() if name in names}


def _is_one_server(one: str, other: str) -> bool:
    # A job has variables that its login node lacks: only two that differ are two servers.
    return not one or not other or one == other


def recent(waits: Iterable[Wait], now: float) -> list[Wait]:
    """Those that are not too old to tell anything, in the order of their jobs' starts.

    Parameters
    ----------
    now
        Seconds since the epoch.
    """
    found = [each for each in waits if 0 <= now - each.submitted <= MEMORABLE]
    return sorted(found, key=lambda each: (each.submitted + each.waited, each.key))


# --- what to expect ---------------------------------------------------------------------------------------------


def likely(waits: Iterable[Wait], asked: Asked, now: float) -> tuple[list[float], list[float]]:
    """What the next jobs may take to come, judged by the latest that were like them.

    Jobs are like others in the same queue if both ask for GPUs or neither does, and their cores and walltimes differ
    by a factor of `ALIKE` at most. If enough of them were submitted at this time of day, on a working day as this is
    or on a weekend as this is, they count alone. Half of what is returned may be of one submission, or more if there
    are no others.

    Parameters
    ----------
    now
        Seconds since the epoch.

    Returns
    -------
    tuple[list[float], list[float]]
        Seconds from the submission to the first worker, and from the start to the first worker, as far as that is
        known; oldest first, at most `SEEDS` of each.
    """
    alike = [each for each in recent(waits, now) if _are_alike(each.asked, asked)]
    same_time = [each for each in alike if _is_same_time(each.submitted, now)]
    chosen = _latest(same_time if len(same_time) >= ENOUGH else alike)
    return [each.took for each in chosen], [each.started_up for each in chosen if each.started_up is not None]


def _are_alike(one: Asked, other: Asked) -> bool:
    return one.competes_with(other) and _is_near(one.all_cores, other.all_cores) and _last_alike(one, other)


def _last_alike(one: Asked, other: Asked) -> bool:
    if one.walltime is None or other.walltime is None:
        return one.walltime is other.walltime
    return _is_near(one.walltime, other.walltime)


def _is_near(one: float, other: float) -> bool:
    return max(one, other) <= ALIKE * min(one, other)


def _is_same_time(one: float, other: float) -> bool:
    """True if both moments are at about the same time of a day of the same kind, where this host is."""
    here, there = time.localtime(one), time.localtime(other)
    apart = abs(_time_of_day(here) - _time_of_day(there))
    # Midnight is no wall.
    is_near = min(apart, 86400 - apart) <= SAME_TIME
    return is_near and (here.tm_wday >= 5) == (there.tm_wday >= 5)


def _time_of_day(moment: time.struct_time) -> float:
    return moment.tm_hour * 3600.0 + moment.tm_min * 60 + moment.tm_sec


def _latest(waits: Sequence[Wait]) -> list[Wait]:
    """The latest of these, which are in order; no more than half of one submission, if there are others."""
    by_submission: dict[str, list[Wait]] = {}
    for each in reversed(waits):
        by_submission.setdefault(each.submission, []).append(each)
    chosen: list[Wait] = []
    for mine in by_submission.values():
        chosen += _evenly(mine, min(SEEDS // 2, SEEDS - len(chosen)))
    keys = {each.key for each in chosen}
    rest = [each.key for each in reversed(waits) if each.key not in keys]
    keys.update(rest[: SEEDS - len(chosen)])
    return [each for each in waits if each.key in keys]


def _evenly(waits: Sequence[Wait], count: int) -> list[Wait]:
    """So many of these at most: some that waited little, some that waited long."""
    if len(waits) <= count:
        return list(waits)
    ordered = sorted(waits, key=lambda each: each.took)
    return [ordered[int((number + 0.5) * len(ordered) / count)] for number in range(count)]


# --- what would start sooner ------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Advice:
    """Jobs that ask for less start sooner."""

    queue: str
    #: What to change: walltime, nodes or cores.
    argument: str
    #: What jobs ask for that start sooner, and what was to be asked for: seconds, or a number.
    less: float
    asked: float
    #: How long half of either have waited at most (s).
    short: float
    long: float

    def __str__(self) -> str:
        """Return ``in queue 'x' jobs of at most 2 h have usually waited 40 s, those of 24 h 2 h: walltime='2h' …``."""
        queue = f"in queue {self.queue!r}" if self.queue else "in the default queue"
        if self.argument == "walltime":
            less, asked, cure = in_words(self.less), in_words(self.asked), f"walltime={_as_walltime(self.less)!r}"
        else:
            less, asked = f"{self.less:.0f} {self.argument}", f"{self.asked:.0f}"
            less, cure = (less.removesuffix("s") if self.less == 1 else less), f"{self.argument}={self.less:.0f}"
        return (
            f"{queue} jobs of at most {less} have usually waited {in_words(self.short)}, those of {asked} "
            f"{in_words(self.long)}: {cure} would start sooner"
        )


def _as_walltime(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def advice(waits: Iterable[Wait], asked: Asked, now: float) -> list[Advice]:
    """What would start noticeably sooner than what is to be asked for, as far as that is known.

    Jobs that ask for half or less are compared with those that ask for as much as this, in the same queue and alike in
    all else: half of them must have waited a third as long at most, and a minute less. Of several sizes for which that
    is so, the largest is named.

    Parameters
    ----------
    now
        Seconds since the epoch.
    """
    others = [each for each in recent(waits, now) if each.asked.competes_with(asked)]
    found = []
    if asked.walltime:
        alike = [each for each in others if each.asked.walltime and _is_near(each.asked.all_cores, asked.all_cores)]
        found.append(_less(alike, asked, "walltime", lambda each: each.walltime or 0.0))
    same_time = [each for each in others if _last_alike(each.asked, asked)]
    if asked.nodes > 1:
        alike = [each for each in same_time if _is_near(each.asked.cores, asked.cores)]
        found.append(_less(alike, asked, "nodes", lambda each: each.nodes))
    else:
        alike = [each for each in same_time if each.asked.nodes == 1]
        found.append(_less(alike, asked, "cores", lambda each: each.cores))
    return [each for each in found if each is not None]


def _less(waits: Sequence[Wait], asked: Asked, argument: str, amount: Callable[[Asked], float]) -> Advice | None:
    """Whether jobs that ask for less of one thing start sooner; these are alike in all else."""
    much = amount(asked)
    mine = [each for each in waits if much / 2 < amount(each.asked) < much * 2]
    if not _are_telling(mine):
        return None
    long = _median([each.waited for each in mine])
    for less in sorted({amount(each.asked) for each in waits if 0 < amount(each.asked) <= much / 2}, reverse=True):
        # Not all that ask for even less: the shortest would make the others look quick.
        near = [each for each in waits if less / 2 <= amount(each.asked) <= less]
        short = _median([each.waited for each in near])
        if _are_telling(near) and SOONER * short <= long and long - short >= WORTH_SAYING:
            return Advice(queue=asked.queue, argument=argument, less=less, asked=much, short=short, long=long)
    return None


def _are_telling(waits: Sequence[Wait]) -> bool:
    return len(waits) >= ENOUGH and len({each.submission for each in waits}) >= SUBMISSIONS


# --- what was -------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Summary:
    """How long jobs have waited in one queue."""

    backend: str
    server: str
    queue: str
    #: In the order of their starts; never empty.
    waits: Sequence[Wait]
    #: Of what most of them asked for.
    advice: Sequence[Advice]

    def waited(self, part: float) -> float:
        """How long so much of them, 0.5 for half, have waited at most (s)."""
        return _quantile([each.waited for each in self.waits], part)

    @property
    def start_up(self) -> float | None:
        """How long half of them took at most to start their first worker (s); None: no start was seen."""
        known = [each.started_up for each in self.waits if each.started_up is not None]
        return _median(known) if known else None

    def trace(self) -> list[float]:
        """How long each has waited until it started, in the order of their submissions (s)."""
        start_up = self.start_up or 0.0
        ordered = sorted(self.waits, key=lambda each: (each.submitted, each.waited))
        return [max(0.0, each.waited - start_up) if each.started_up is None else each.waited for each in ordered]


def summaries(waits: Iterable[Wait], now: float) -> list[Summary]:
    """How long jobs have waited, by backend and queue, as far back as it is of interest.

    Parameters
    ----------
    now
        Seconds since the epoch.
    """
    by_queue: dict[tuple[str, str], list[Wait]] = {}
    for each in recent(waits, now):
        by_queue.setdefault((each.asked.backend, each.asked.queue), []).append(each)
    found = []
    for (backend, queue), mine in sorted(by_queue.items()):
        servers = sorted({each.asked.server for each in mine} - {""})
        for server in servers if len(servers) > 1 else [""]:
            here = [each for each in mine if _is_one_server(each.asked.server, server)]
            usual = Counter(each.asked for each in here).most_common(1)[0][0]
            told = advice(here, usual, now)
            found.append(Summary(backend=backend, server=server, queue=queue, waits=here, advice=told))
    return found


def _median(values: Sequence[float]) -> float:
    return _quantile(values, 0.5)


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]
