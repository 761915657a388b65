"""What an engine tells to handles in other processes, as plain data: no pickled object travels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NewType

from attrs import field, frozen
from cattrs.preconf.json import make_converter

from corral import errors
from corral.cluster.shown import OnPaper, ShownGroup, Standing
from corral.errors import CorralError
from corral.jobs.explanation import Explanation, Explanations
from corral.jobs.record import JobFailure, JobRecord, Jobs
from corral.jobs.worker_failures import WorkerFailure
from corral.plugin.values import Resources
from corral.request.blueprint import Blueprint
from corral.request.worker_group import WorkerGroup
from corral.scaling.account import Account
from corral.scaling.adaptive import Adapting
from corral.view.overview import CommandCount, Load, Totals

#: What Dask's `Scheduler.identity` returns: plain already, but with keys that JSON has not.
Identity = NewType("Identity", dict[str, Any])

_converter = make_converter()
_converter.register_unstructure_hook_func(lambda kind: kind is Identity, lambda found: found)
_converter.register_structure_hook_func(lambda kind: kind is Identity, lambda found, _: found)
_converter.register_unstructure_hook(
    Jobs,
    lambda jobs: {"records": to_plain(tuple(jobs)), "unsubmitted": jobs.unsubmitted, "why": jobs.why},
)
_converter.register_structure_hook(
    Jobs,
    lambda plain, _: Jobs(
        _converter.structure(plain["records"], tuple[JobRecord, ...]), plain["unsubmitted"], plain["why"]
    ),
)


@frozen(kw_only=True)
class GroupSnapshot:
    """One group, as handles show it."""

    #: Of `WorkerGroup`.
    arguments: dict[str, Any]
    resources: Resources
    #: Jobs.
    wanted: int
    standing: Standing = Standing()
    script: str

    @classmethod
    def of(cls, group: ShownGroup, script: str) -> GroupSnapshot:
        """As it is elsewhere; `script` is its script, which takes a moment to render."""
        return cls(
            arguments=arguments_of(group.spec),
            resources=group.resources,
            wanted=group.wanted,
            standing=group.standing,
            script=script,
        )

    @property
    def spec(self) -> WorkerGroup:
        return WorkerGroup(**self.arguments)


@frozen(kw_only=True)
class AdaptiveState:
    """How a cluster adapts; by itself, one that is about to."""

    minimum: int = 0
    maximum: float = math.inf
    target_duration: float = math.nan
    idle_timeout: float | None = None
    state: str = "starting"
    log: tuple[tuple[float, dict[str, Any]], ...] = ()

    @classmethod
    def asked(cls, asked: Mapping[str, Any]) -> AdaptiveState:
        """One that is about to, as far as that can be said of what `Cluster.adapt` was given."""
        bounds = {name: asked[name] for name in ("minimum", "maximum") if name in asked}
        return cls(**bounds)

    @classmethod
    def of(cls, adapting: Adapting) -> AdaptiveState:
        return cls(
            minimum=adapting.minimum,
            maximum=adapting.maximum,
            target_duration=adapting.target_duration,
            idle_timeout=adapting.idle_timeout,
            state=adapting.state,
            log=tuple(adapting.log),
        )


@frozen(kw_only=True)
class State:
    """Everything that a handle shows, at one moment."""

    #: By the clock of the scheduler's host: two answers may overtake each other.
    moment: float = 0.0
    #: Grows with each change.
    version: int = 0
    backend: str
    groups: Mapping[str, GroupSnapshot]
    jobs: Jobs = Jobs(())
    failures: tuple[JobFailure | WorkerFailure, ...] = ()
    account: Account = field(factory=lambda: Account(groups={}))
    maximum_core_hours: float | None = None
    maximum_gpu_hours: float | None = None
    whereabouts: str = ""
    load: Load = Load()
    totals: Mapping[str, Totals] = field(factory=dict)
    commands: tuple[CommandCount, ...] = ()
    #: When the cluster began, by the clock of the scheduler's host.
    began: float = 0.0
    #: When the clock of its records stood at 0, by the clock of the scheduler's host.
    epoch: float = 0.0
    adaptive: AdaptiveState | None = None
    #: What the Dask scheduler says of itself and its workers.
    identity: Identity = field(factory=lambda: Identity({}))
    #: Through which the dashboard is reached, on the scheduler's host; None: there is no dashboard.
    dashboard_port: int | None = None
    #: Why the cluster ends soon; empty while it does not.
    ending: str = ""

    @classmethod
    def before(cls, blueprint: Blueprint) -> State:
        """Of a cluster that has not started."""
        shown = OnPaper(blueprint)
        return cls(
            backend=shown.backend,
            groups={name: GroupSnapshot.of(group, group.script) for name, group in shown.groups.items()},
            maximum_core_hours=shown.maximum_core_hours,
            maximum_gpu_hours=shown.maximum_gpu_hours,
        )


def arguments_of(spec: WorkerGroup) -> dict[str, Any]:
    """The arguments that make an equal group."""
    found = {name: getattr(spec, name) for name in spec.argument_names()}
    # Its variables are those of the process that made it.
    return {**found, "inherit_env": (), "env": dict(spec.variables)}


def to_plain(value: Any) -> Any:
    """A value as dictionaries, lists, texts and numbers."""
    return _converter.unstructure(value)


def to_state(plain: Mapping[str, Any]) -> State:
    """What `to_plain` made of a state."""
    return _converter.structure(plain, State)


def to_explanations(plain: Any) -> Explanations:
    """What `to_plain` made of explanations."""
    return Explanations(_converter.structure(plain, tuple[Explanation, ...]))


# --- errors -----------------------------------------------------------------------------------------------------

#: What errors carry besides their words.
_CARRIED: dict[str, dict[str, Any]] = {
    "BudgetSpent": {"used": float, "maximum": float, "unit": str},
    "InvalidRequest": {"argument": str, "problem": str},
    "JobsFailed": {"failures": tuple[JobFailure, ...]},
    "NeverStarts": {"failures": tuple[JobFailure, ...], "reason": str, "cure": str},
    "WorkersNotReady": {"available_workers": int, "expected_workers": int, "timeout": float},
}


def error_to_plain(error: CorralError) -> dict[str, Any]:
    """An error for the other side to raise."""
    kind = type(error).__name__
    carried = {name: to_plain(getattr(error, name)) for name in _CARRIED.get(kind, {})}
    return {"kind": kind, "words": str(error), "carried": carried}


def answer_of(said: Mapping[str, Any]) -> Any:
    """What an engine has answered, in plain values; raises the error that it answered with, if any."""
    if "error" in said:
        raise to_error(said["error"])
    return said["answer"]


def to_error(plain: Mapping[str, Any]) -> CorralError:
    """What `error_to_plain` made of an error: the same class, words and evidence."""
    kind = getattr(errors, plain["kind"], CorralError)
    # Its words are complete: the constructor would add to them.
    error: CorralError = kind.__new__(kind)
    error.args = (plain["words"],)
    if isinstance(error, errors.BatchSystemError):
        error.cause = None
    for name, expected in _CARRIED.get(plain["kind"], {}).items():
        setattr(error, name, _converter.structure(plain["carried"][name], expected))
    return error
