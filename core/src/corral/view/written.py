"""An overview as JSON, for programs: what `/corral/overview.json` and its neighbours say. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from attrs import asdict, astuple

from corral.view.overview import Overview
from corral.view.series import COLUMNS, Point

#: Of all of these texts. It grows when a field goes, or means something else; a new field does not change it.
FORMAT = 1


def overview_json(overview: Overview) -> str:
    """All of it."""
    return _written({"format": FORMAT, **asdict(overview)})


def jobs_json(overview: Overview) -> str:
    """Its jobs alone."""
    jobs = [asdict(job) for job in overview.jobs]
    return _written({"format": FORMAT, "name": overview.name, "moment": overview.moment, "jobs": jobs})


def series_json(overview: Overview, points: Iterable[Point]) -> str:
    """How its size went: the names of columns, and a list of numbers for each point, oldest first."""
    rows = [list(astuple(point)) for point in points]
    said = {"format": FORMAT, "name": overview.name, "moment": overview.moment, "columns": COLUMNS, "points": rows}
    return _written(said)


def _written(said: Any) -> str:
    try:
        return json.dumps(said, allow_nan=False)
    except ValueError:
        # JSON has no word for what a batch system means by infinity.
        return json.dumps(_finite(said), allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case _:
            return value
