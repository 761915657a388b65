"""The colours of what is shown can be seen, and told apart by those who see fewer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import pytest

from corral.jobs.record import Outcome
from corral.view import colours
from corral.view.colours import DARK, END, LIGHT, PHASE, USE, Colour
from corral.view.overview import PHASES, USES

#: What is left of red, green and blue (linear) without one kind of cones: Machado, Oliveira and Fernandes (2009).
SEEN = {
    "all": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no red": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881),
    ),
}  # fmt: skip

Linear = tuple[float, float, float]


def linear(colour: str) -> Linear:
    """Red, green and blue as light (sRGB, IEC 61966-2-1)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2.2 defines it."""
    dim, bright = sorted(
        0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in map(linear, (one, other))
    )
    return (bright + 0.05) / (dim + 0.05)


def lab(light: Linear) -> Linear:
    """CIE 1976 L*a*b* under D65."""
    rows = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
    xyz = [sum(a * b for a, b in zip(row, light, strict=True)) for row in rows]
    x, y, z = (
        part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116
        for part in (value / white for value, white in zip(xyz, (0.95047, 1.0, 1.08883), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: str, other: str, sight: str) -> float:
    """How far two colours are apart (CIE 1976, units of L*a*b*) for eyes of this kind."""
    seen = []
    for colour in (one, other):
        light = linear(colour)
        red, green, blue = (
            min(1.0, max(0.0, sum(a * b for a, b in zip(row, light, strict=True)))) for row in SEEN[sight]
        )
        seen.append(lab((red, green, blue)))
    return math.dist(*seen)


def test_each_phase_end_and_use_has_one() -> None:
    """What comes to be known later must have one, too."""
    assert tuple(PHASE) == PHASES
    assert set(END) == {"", *(outcome.value for outcome in Outcome)}
    assert tuple(USE) == USES


@pytest.mark.parametrize(
    "table", [PHASE, END, USE, {"text": colours.INK, "faint": colours.FAINT}], ids=["phases", "ends", "uses", "text"]
)
def test_each_can_be_seen_on_its_background(table: Mapping[str, Colour]) -> None:
    """WCAG 2.2, 1.4.11: graphical objects have a contrast of 3 to 1."""
    for name, colour in table.items():
        assert contrast(colour.light, LIGHT) >= 3, name
        assert contrast(colour.dark, DARK) >= 3, name
    assert min(contrast(colours.FAINT.light, LIGHT), contrast(colours.FAINT.dark, DARK)) >= 4.5


@pytest.mark.parametrize("sight", list(SEEN))
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_those_beside_each_other_differ_for_everybody(ground: str, sight: str) -> None:
    """A just noticeable difference is 2.3: eight of them between any two of one picture."""
    ends = {name: colour for name, colour in END.items() if name}
    for table in ({**PHASE, **ends}, USE):
        for (one, first), (other, second) in itertools.combinations(table.items(), 2):
            apart = difference(getattr(first, ground), getattr(second, ground), sight)
            assert apart >= 18, f"{one} and {other}: {apart:.1f}"
