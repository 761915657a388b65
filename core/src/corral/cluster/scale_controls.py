"""What scales, adapts and closes a cluster by clicks: a line for each group, in jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
from attrs import define, field

from corral.errors import counted
from corral.view.overview import GroupView, Overview

#: Does what was clicked: what that is, in words, and how it is asked of the cluster.
Act = Callable[[str, Callable[[Any], Any]], None]

#: So many groups have a line.
_GROUPS = 12
#: What a field is filled with where there is no limit: more jobs than any cluster has.
_MOST = 1_000_000


@define(eq=False)
class _Line:
    """The controls of one group."""

    name: str
    act: Act
    #: By group: how each is sized now.
    sized: dict[str, GroupView]
    jobs: Any = field(init=False)
    least: Any = field(init=False)
    most: Any = field(init=False)
    box: Any = field(init=False)
    #: What each field was filled with: what somebody has written since stays.
    _filled: dict[str, int] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.jobs, self.least, self.most = (_number(tip) for tip in ("jobs", "at least", "at most"))
        scale = _button("Scale", "Have so many jobs: cluster.scale(jobs=…)")
        adapt = _button("Adapt", "Let the group follow its work, between these numbers of jobs: cluster.adapt(…)")
        scale.on_click(self._scale)
        adapt.on_click(self._adapt)
        label = ipywidgets.Label(self.name, layout={"width": "9em"})
        parts = [
            label,
            self.jobs,
            _word("jobs"),
            scale,
            _word("or"),
            self.least,
            _word("to"),
            self.most,
            _word("jobs"),
            adapt,
        ]
        self.box = ipywidgets.HBox(parts, layout={"flex_flow": "row wrap", "align_items": "center"})

    def follow(self, group: GroupView) -> None:
        """Show how it is sized now, where nobody has written something else."""
        most = max(group.wanted, 10) if group.maximum is None else group.maximum
        now = {"jobs": group.wanted, "least": group.minimum, "most": most if group.adapts else max(most, group.wanted)}
        for name, number in now.items():
            shown = getattr(self, name)
            if name not in self._filled or shown.value == self._filled[name]:
                shown.value = min(number, _MOST)
            self._filled[name] = min(number, _MOST)

    def _scale(self, _button: Any) -> None:
        name, jobs = self.name, self.jobs.value
        self.act(f"scale {name} to {counted(jobs, 'job')}", lambda cluster: cluster.scale(jobs=jobs, group=name))

    def _adapt(self, _button: Any) -> None:
        name, bounds = self.name, (self.least.value, self.most.value)
        sized = dict(self.sized)
        words = f"adapt {name} between {bounds[0]:,} and {counted(bounds[1], 'job')}"
        self.act(words, lambda cluster: adapt_one(cluster, sized, name, bounds))


def adapt_one(cluster: Any, sized: dict[str, GroupView], name: str, bounds: tuple[int, int]) -> None:
    """Let one group follow its work, between so many jobs, and leave the others as they are.

    `Cluster.adapt` is about all groups, and restarts those that have stopped. So groups of a fixed size are held to it,
    and then fixed again; those that have stopped want nothing any more.
    """
    others = {other: group for other, group in sized.items() if other != name}
    fixed = {other: 0 if group.is_stopped else group.wanted for other, group in others.items() if not group.adapts}
    asked = {name: _bounds(*bounds)}
    asked |= {other: _bounds(group.minimum, group.maximum) for other, group in others.items() if group.adapts}
    asked |= {other: _bounds(jobs, jobs) for other, jobs in fixed.items()}
    for other, group in others.items():
        if group.is_stopped and other in fixed:
            # First: to adapt lets it go on with what it still wants.
            cluster.scale(jobs=0, group=other)
    cluster.adapt(groups=asked)
    for other, jobs in fixed.items():
        cluster.scale(jobs=jobs, group=other)


def _bounds(least: int, most: int | None) -> dict[str, int]:
    return {"minimum_jobs": least} | ({} if most is None else {"maximum_jobs": most})


class ScaleControls:
    """A line for each group, and a button that closes the cluster."""

    def __init__(self, act: Act, *, scales: bool, says: str) -> None:
        """`scales` is whether groups can be scaled, `says` what the last button does, in words."""
        self._act, self._scales = act, scales
        self._sized: dict[str, GroupView] = {}
        self._lines: dict[str, _Line] = {}
        self._rows = ipywidgets.VBox()
        self._close = _button(says, "Asks before it does", width="auto")
        self._yes = _button("Yes", says, width="auto", style="danger")
        self._no = _button("No", "Leave it as it is", width="auto")
        self._close.on_click(lambda _: self._ask(True))
        self._no.on_click(lambda _: self._ask(False))
        self._yes.on_click(self._do_close)
        self._ending = ipywidgets.HBox([self._close])
        self.box = ipywidgets.VBox([self._rows, self._ending])

    def follow(self, overview: Overview) -> None:
        """Have a line for each group that can be scaled."""
        if not self._scales:
            return
        groups = {group.name: group for group in overview.groups[:_GROUPS]}
        self._sized.clear()
        self._sized.update({group.name: group for group in overview.groups})
        if list(groups) != list(self._lines):
            self._lines = {
                name: self._lines.get(name) or _Line(name=name, act=self._act, sized=self._sized) for name in groups
            }
            self._rows.children = [line.box for line in self._lines.values()]
        for name, group in groups.items():
            self._lines[name].follow(group)

    def end(self) -> None:
        """There is nothing to scale any more."""
        self.box.children = ()

    def _ask(self, asks: bool) -> None:
        self._ending.children = [_word(f"{self._close.description}?"), self._yes, self._no] if asks else [self._close]

    def _do_close(self, _button: Any) -> None:
        self._ask(False)
        self._act(self._close.description.lower(), lambda cluster: cluster.close())


def _number(tip: str) -> Any:
    return ipywidgets.BoundedIntText(min=0, max=_MOST, tooltip=tip, layout={"width": "6em"})


def _button(says: str, tip: str, *, width: str = "5em", style: str = "") -> Any:
    return ipywidgets.Button(description=says, tooltip=tip, button_style=style, layout={"width": width})


def _word(text: str) -> Any:
    return ipywidgets.Label(text)
