"""The colours of what is shown: one for each phase of a job, each end, and each use of cores, on light and on dark.

A phase has the same colour in every picture. Those that stand beside each other differ in lightness as well as in hue,
so that they can be told apart by those who see red and green alike, and in a grey print. On its background each has a
contrast of at least 3 to 1 (WCAG 2.2, 1.4.11), which a test holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from corral.view.overview import JobView


@frozen
class Colour:
    """One colour, as ``#rrggbb``."""

    #: On `LIGHT` and on `DARK`.
    light: str
    dark: str


#: What pictures are drawn on.
LIGHT, DARK = "#ffffff", "#14181d"
#: Text, lines of axes, and what is said in passing.
INK = Colour("#1b2330", "#e6ebf1")
FAINT = Colour("#5b6675", "#9aa6b4")
GRID = Colour("#d9dee5", "#333b46")

#: Of a living job, by its phase: `corral.view.overview.PHASES`.
PHASE: Mapping[str, Colour] = MappingProxyType(
    {
        "waiting": Colour("#6d7894", "#606a83"),
        "starting": Colour("#e37400", "#fbe312"),
        "working": Colour("#013499", "#0f59fe"),
        "draining": Colour("#c95fdf", "#e1a1ec"),
        "cancelling": Colour("#401656", "#8053b9"),
    }
)
#: Of one that has ended, by what its end means: a value of `corral.jobs.record.Outcome`; empty: in good time.
END: Mapping[str, Colour] = MappingProxyType(
    {
        "": Colour("#1ca580", "#8fedd4"),
        "wanted": Colour("#1ca580", "#8fedd4"),
        "lost": Colour("#c43014", "#fa5911"),
        "died": Colour("#cf124c", "#e0213e"),
        "cancelled from outside": Colour("#4f3017", "#e1ca8b"),
    }
)
#: Of core-hours, by their use: `corral.view.overview.USES`.
USE: Mapping[str, Colour] = MappingProxyType(
    {
        "busy": PHASE["working"],
        "idle": Colour("#398397", "#2a7085"),
        "starting": PHASE["starting"],
        "draining": PHASE["draining"],
        "interrupted": END["died"],
    }
)
#: How many workers there are, and how many are wanted.
WORKERS, WANTED = PHASE["working"], PHASE["starting"]


def colour_of(job: JobView) -> Colour:
    """A job's, by its phase; by its end, if it has ended. Words that are not known have the colour of text."""
    if job.phase == "ended":
        return END.get(job.outcome, INK)
    return PHASE.get(job.phase, INK)
