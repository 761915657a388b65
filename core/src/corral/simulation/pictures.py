"""Jobs over time, drawn with matplotlib where that is installed."""

from __future__ import annotations

import bisect
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.errors import InvalidRequest
from corral.simulation.world import Outcome

#: What pictures are written as, by the ending of their files.
FORMATS = (".svg", ".png", ".pdf")
#: A picture is at most so many times as high as the most jobs that work; more that wait are cut off.
TALLEST = 3


def matplotlib(path: Path) -> Any:
    """The library, to draw a picture into this file.

    Raises
    ------
    InvalidRequest
        It is not installed, there is no such kind of picture, or no such folder.
    """
    if path.suffix not in FORMATS:
        raise InvalidRequest("picture", f"{path} ends in none of {', '.join(FORMATS)}; write for example jobs.svg")
    if not path.parent.is_dir():
        raise InvalidRequest("picture", f"there is no folder {path.parent}; make it, or name a file in another")
    try:
        # Wanted for this alone; its types are nobody's business here.
        importlib.import_module("matplotlib.figure")
        return importlib.import_module("matplotlib")
    except ImportError:
        raise InvalidRequest(
            "picture", "pictures are drawn by matplotlib, which is not installed: pip install matplotlib"
        ) from None


def draw(outcomes: Mapping[str, Outcome], path: Path, title: str = "") -> None:
    """Draw the jobs of each policy over time, one below the other.

    Parameters
    ----------
    outcomes
        What became of the load, by the names of policies.
    path
        A file that ends as one of `FORMATS`.
    title
        What stands above all.

    Raises
    ------
    InvalidRequest
        matplotlib is not installed, or there is no such kind of picture.
    """
    library = matplotlib(path)
    # Otherwise every run would draw the same picture in other bytes.
    with library.rc_context({"svg.hashsalt": "corral", "svg.fonttype": "none"}):
        figure = library.figure.Figure(figsize=(8, 0.9 + 1.4 * len(outcomes)), layout="constrained")
        axes = figure.subplots(len(outcomes), sharex=True, sharey=True, squeeze=False)[:, 0]
        # Those that wait may be hundreds, and those that work would be a line on the ground.
        top = TALLEST * max(1, *(working for outcome in outcomes.values() for _, working, _ in outcome.history))
        for axis, (policy, outcome) in zip(axes, outcomes.items(), strict=True):
            edges, connected, alive = _steps(outcome)
            axis.stairs(alive, edges, fill=True, color="#c9c9c9", label="waiting jobs")
            axis.stairs(connected, edges, fill=True, color="#2c7fb8", label="working jobs")
            wasted = f"{outcome.wasted_core_hours:.0f} core-hours wasted"
            cut = f" (as many as {max(alive)} jobs at a time)" if max(alive) > top else ""
            axis.set_title(f"{policy}: {outcome.makespan / 60:.0f} min, {wasted}{cut}", fontsize=9, loc="left")
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_ylabel("jobs")
        axes[0].set_xlim(0, max(outcome.makespan for outcome in outcomes.values()) / 60)
        highest = max(working + waiting for outcome in outcomes.values() for _, working, waiting in outcome.history)
        axes[0].set_ylim(0, 1.04 * min(top, max(1, highest)))
        axes[-1].set_xlabel("minutes")
        # Above all, where nothing is drawn.
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper right", ncols=2, fontsize=8, frameon=False)
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
        # Nor may the time of the run be in it.
        moment = {".svg": "Date", ".pdf": "CreationDate"}.get(path.suffix)
        figure.savefig(path, metadata={moment: None} if moment else {})


def _steps(outcome: Outcome, points: int = 320) -> tuple[list[float], list[int], list[int]]:
    """As many steps of the history as an eye can tell apart: their edges (min), working jobs, and all jobs."""
    moments = [moment for moment, _, _ in outcome.history]
    edges, connected, alive = [0.0], [0], [0]
    for step in range(points):
        moment = outcome.makespan * step / points
        _, working, waiting = outcome.history[max(0, bisect.bisect_right(moments, moment) - 1)]
        if (working, working + waiting) != (connected[-1], alive[-1]):
            edges.append(moment / 60)
            connected.append(working)
            alive.append(working + waiting)
    return [*edges, outcome.makespan / 60], connected, alive
