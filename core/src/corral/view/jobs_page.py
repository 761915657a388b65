"""The page of jobs in Dask's dashboard, as a Bokeh document. Imports bokeh: not before somebody looks.

A drawing is made once for all who look (`corral.view.drawing`); here each viewer's document is told what has changed
since its last one, and nothing else. What goes on has no end but the edge of the picture, so that time passes without
news of any job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    DatetimeTickFormatter,
    FactorRange,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import BoxAnnotation
from bokeh.models.widgets.markups import Div
from bokeh.models.widgets.tables import DataTable, NumberFormatter, TableColumn
from bokeh.plotting import figure
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from corral.text.durations import in_words
from corral.view.colours import FAINT, GRID, INK, PHASE, WANTED, WORKERS
from corral.view.drawing import BAR, FAILURE, GROUP, WAIT, Columns, Drawing, key, local
from corral.view.series import Point, Series

#: So many rows of forgotten jobs stay before all are drawn anew.
SPARE = 500
#: Up to so many jobs, each is named beside its bar.
NAMED = 40
#: What a picture of less time would show is noise (ms).
SHORTEST = 60_000.0
#: So many points of the size stay before all are drawn anew.
POINTS = 4_000
#: Two ends of a range that are closer are the same (ms): a browser rounds.
CLOSE = 2.0

#: Heights in a table (px).
_HEAD, _LINE = 32, 25
_WAITED = "How long jobs waited in the queue"
#: What lies in the future is this colour, and hides the bars that have no end yet.
_TO_COME = "#f0f1f4"
_WAIT_TICKS = (1, 10, 60, 600, 3600, 21_600, 86_400, 604_800)
_TIME = DatetimeTickFormatter(
    milliseconds="%H:%M:%S", seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M",
    days="%d %b", months="%b %Y", years="%Y",
)  # fmt: skip
_TOOLS = "xpan,xwheel_zoom,box_zoom,reset"
#: Where a thousand jobs are a pixel each, one is enough; older versions of bokeh show all.
_FEW: dict[str, Any] = {"limit": 1} if "limit" in HoverTool.properties() else {}
_HOVER = [
    ("job", "@id"), ("group", "@group"), ("stands", "@stands"), ("batch system", "@state"), ("reason", "@reason"),
    ("hosts", "@hosts"), ("has", "@has"), ("waited", "@waited"), ("why it ends", "@why"),
]  # fmt: skip


def begin(
    document: Document,
    drawing: Callable[[], Awaitable[Drawing | None]],
    series: Callable[[], Series],
    variables: Mapping[str, Any],
    interval: int,
) -> None:
    """Make a document the page of jobs, and keep it so.

    Parameters
    ----------
    drawing
        The latest; None: the cluster is gone.
    variables
        Of Dask's template: the pages to which it leads.
    interval
        Between two changes (ms).
    """
    page = JobsPage()

    async def show() -> None:
        latest = await drawing()
        if latest is not None:
            page.update(latest, series())

    # bokeh awaits what it calls, if there is something to await; its types do not say so.
    tick: Any = show
    document.title = "Dask: Jobs"
    document.theme = BOKEH_THEME
    document.template = env.get_template("simple.html")
    document.template_variables.update(variables)
    document.add_root(page.root)
    document.add_next_tick_callback(tick)
    document.add_periodic_callback(tick, interval)


class JobsPage:
    """One viewer's page."""

    def __init__(self) -> None:
        #: Of moments, shared by both pictures; both ends follow, unless somebody has moved them.
        self.times: Any = Range1d(start=0, end=SHORTEST)
        self.rows: Any = Range1d(start=-0.5, end=1.5)
        self.words = Div(text="", sizing_mode="stretch_width", styles={"font-size": "14px", "line-height": "1.5"})
        self.bars = ColumnDataSource({name: [] for name in ("row", *BAR)}, name="bars")
        self.size = ColumnDataSource({"moment": [], "workers": [], "wanted": []}, name="size")
        self.waits = ColumnDataSource({name: [] for name in WAIT}, name="waits")
        self.groups = ColumnDataSource({name: [] for name in GROUP}, name="groups")
        self.failures = ColumnDataSource({name: [] for name in FAILURE}, name="failures")
        self._edges = [BoxAnnotation(left=0, fill_color=_TO_COME, fill_alpha=1.0, line_color=INK.light) for _ in "12"]
        self._row_of: dict[str, int] = {}
        self._drawn: list[tuple[Any, ...]] = []
        self._points_until = float("-inf")
        self._followed = {self.times: (0.0, SHORTEST), self.rows: (-0.5, 1.5)}
        self._gantt, self._workers, self._waited = self._draw_gantt(), self._draw_workers(), self._draw_waits()
        self._groups_table = _table(self.groups, _GROUP_COLUMNS, height=_HEAD + _LINE)
        self._failures_table = _table(self.failures, _FAILURE_COLUMNS, height=220)
        self.root = column(
            self.words,
            Div(text=key(), sizing_mode="stretch_width", styles={"font-size": "13px", "color": FAINT.light}),
            self._gantt,
            row(self._workers, self._waited, sizing_mode="stretch_width"),
            _title("Groups"),
            self._groups_table,
            _title("Failures, the latest first"),
            self._failures_table,
            sizing_mode="stretch_width",
            name="jobs",
        )

    # --- what is drawn --------------------------------------------------------------------------------------------

    def _draw_gantt(self) -> Any:
        drawn = figure(
            title="Jobs, the newest on top", x_range=self.times, y_range=self.rows, x_axis_type="datetime",
            height=420, sizing_mode="stretch_width", tools=f"{_TOOLS},ypan,ywheel_zoom", toolbar_location="above",
        )  # fmt: skip
        parts = [
            ("submitted", "started", PHASE["waiting"].light),
            ("started", "connected", PHASE["starting"].light),
            ("connected", "leaving", PHASE["working"].light),
            ("leaving", "ended", "leaving_colour"),
        ]
        bars = [
            drawn.hbar(y="row", left=left, right=right, height=0.8, color=colour, source=self.bars)
            for left, right, colour in parts
        ]
        drawn.add_layout(self._edges[0])
        ends = drawn.scatter(x="end", y="row", size="end_size", color="end_colour", source=self.bars)
        drawn.add_tools(HoverTool(renderers=[*bars, ends], tooltips=_HOVER, point_policy="follow_mouse", **_FEW))
        _plain(drawn)
        drawn.ygrid.visible = False
        drawn.yaxis.visible = False
        return drawn

    def _draw_workers(self) -> Any:
        drawn = figure(
            title="Workers", x_range=self.times, x_axis_type="datetime", height=240, sizing_mode="stretch_width",
            tools=_TOOLS, toolbar_location="above",
        )  # fmt: skip
        for name, colour, dash in (("wanted", WANTED.light, "dashed"), ("workers", WORKERS.light, "solid")):
            drawn.step(
                x="moment", y=name, mode="after", source=self.size, color=colour, line_width=2, line_dash=dash,
                legend_label={"workers": "connected"}.get(name, name),
            )  # fmt: skip
        drawn.add_layout(self._edges[1])
        drawn.add_tools(
            HoverTool(
                tooltips=[("", "@moment{%F %T}"), ("connected", "@workers{0,0}"), ("wanted", "@wanted{0,0}")],
                formatters={"@moment": "datetime"}, mode="vline",
            )
        )  # fmt: skip
        sizes: Any = drawn.y_range
        sizes.start = 0
        sizes.default_span = 4
        drawn.yaxis.ticker = BasicTicker(min_interval=1)
        drawn.yaxis.formatter = NumeralTickFormatter(format="0,0")
        drawn.legend.location = "top_left"
        drawn.legend.orientation = "horizontal"
        drawn.legend.background_fill_alpha = 0.6
        drawn.legend.spacing = 14
        _plain(drawn)
        return drawn

    def _draw_waits(self) -> Any:
        drawn = figure(
            title=_WAITED, x_axis_type="log", x_range=Range1d(start=0.8, end=3600),
            y_range=FactorRange(), height=240, sizing_mode="stretch_width", tools="reset", toolbar_location=None,
        )  # fmt: skip
        drawn.hbar(
            y="group", left="low", right="high", height=0.4, color=PHASE["waiting"].light, alpha=0.6, source=self.waits
        )
        middle = drawn.scatter(x="middle", y="group", size=11, marker="square", color=INK.light, source=self.waits)
        longest = drawn.scatter(x="now", y="group", size=13, marker="diamond", color=WANTED.light, source=self.waits)
        tooltips = [("group", "@group"), ("", "@words")]
        drawn.add_tools(HoverTool(renderers=[middle, longest], tooltips=tooltips))
        drawn.xaxis.ticker = FixedTicker(ticks=list(_WAIT_TICKS))
        drawn.xaxis.major_label_overrides = {tick: in_words(tick) for tick in _WAIT_TICKS}
        drawn.xaxis.axis_label = "■ half of them   ▬ eight of ten   ◆ waits longest now"
        drawn.xaxis.axis_label_text_font_style = "normal"
        drawn.ygrid.visible = False
        return drawn

    # --- what changes ---------------------------------------------------------------------------------------------

    def update(self, drawing: Drawing, series: Series) -> None:
        """Show this moment."""
        self._show_bars(drawing)
        self._show_size(series, drawing)
        self._show_table(self.groups, drawing.groups)
        height = _HEAD + _LINE * min(max(len(drawing.groups["group"]), 1), 10)
        if self._groups_table.height != height:
            self._groups_table.height = height
        self._show_table(self.failures, drawing.failures)
        self._show_waits(drawing.waits)
        if self.words.text != drawing.words:
            self.words.text = drawing.words
        for edge in self._edges:
            edge.left = drawing.now
        # A cluster of weeks has forgotten what was before its oldest job.
        start = min(drawing.oldest, drawing.now - SHORTEST)
        margin = (drawing.now - start) / 50
        self._follow(self.times, start - margin, drawing.now + margin)

    def _follow(self, range_: Any, start: float, end: float) -> None:
        """Move a range along with what it shows, unless somebody has chosen another part."""
        was_start, was_end = self._followed[range_]
        # Before, or a reset would lead back to what was.
        range_.update(reset_start=start, reset_end=end)
        if abs(range_.start - was_start) < CLOSE and abs(range_.end - was_end) < CLOSE:
            range_.update(start=start, end=end)
        self._followed[range_] = (start, end)

    def _show_bars(self, drawing: Drawing) -> None:
        bars = drawing.bars
        new = [job for job in bars if job not in self._row_of]
        if len(self._row_of) + len(new) > len(bars) + SPARE:
            self._row_of.clear()
            self._drawn.clear()
            new = list(bars)
        is_anew = not self._row_of
        changes: dict[str, list[tuple[int, Any]]] = {}
        for job, at in self._row_of.items():
            after = bars.get(job)
            if after is None or after is (before := self._drawn[at]):
                continue
            self._drawn[at] = after
            for name, was, now in zip(BAR, before, after, strict=True):
                # What is no number differs from itself.
                if was != now and not (was != was and now != now):  # noqa: PLR0124
                    changes.setdefault(name, []).append((at, now))
        if changes:
            self.bars.patch(changes)
        if new or (is_anew and self.bars.data["row"]):
            begin = len(self._drawn)
            self._row_of |= {job: begin + number for number, job in enumerate(new)}
            self._drawn += [bars[job] for job in new]
            added: dict[str, Any] = {"row": list(range(begin, len(self._drawn)))}
            added |= {name: [bars[job][number] for job in new] for number, name in enumerate(BAR)}
            if is_anew:
                self.bars.data = added
            else:
                self.bars.stream(added)
            self._name_rows()

    def _name_rows(self) -> None:
        count = len(self._drawn)
        self._follow(self.rows, -0.7, max(count, 5) - 0.3)
        axis = self._gantt.yaxis[0]
        axis.visible = 0 < count <= NAMED
        if axis.visible:
            axis.ticker = FixedTicker(ticks=list(range(count)))
            axis.major_label_overrides = {number: str(each[0]) for number, each in enumerate(self._drawn)}

    def _show_size(self, series: Series, drawing: Drawing) -> None:
        points = series.points
        if not points:
            return
        known = len(self.size.data["moment"])
        new = [point for point in points if point.moment > self._points_until]
        last: dict[str, list[Any]] = {
            "moment": [drawing.now],
            "workers": [points[-1].workers],
            "wanted": [points[-1].wanted],
        }
        if not known or known + len(new) > POINTS:
            shown = _columns(points)
            self.size.data = {name: shown[name] + last[name] for name in last}
        else:
            # The last one stands for now, and moves on.
            head = _columns(new)
            first = {name: [(known - 1, (head[name] + last[name])[0])] for name in last}
            self.size.patch(first)
            if new:
                self.size.stream({name: (head[name] + last[name])[1:] for name in last})
        self._points_until = points[-1].moment

    @staticmethod
    def _show_table(source: ColumnDataSource, columns: Columns) -> None:
        if source.data != columns:
            source.data = dict(columns)

    def _show_waits(self, waits: Columns) -> None:
        groups = waits["group"][::-1]
        title = _WAITED if groups else f"{_WAITED}: none has yet"
        if self._waited.title.text != title:
            self._waited.title.text = title
        if self._waited.y_range.factors != groups:
            self._waited.y_range.factors = groups
        longest = max((each for name in ("high", "now") for each in waits[name] if each == each), default=0.0)  # noqa: PLR0124
        end = next((2.0 * tick for tick in _WAIT_TICKS if tick >= longest and tick >= 60), 2.0 * longest)
        if self._waited.x_range.end != end:
            self._waited.x_range.end = end
        # The one that waits longest waits longer each second: nobody sees a change of less than a fiftieth.
        shown = {**waits, "now": [_rounded(each) for each in waits["now"]]}
        if repr(self.waits.data) != repr(shown):
            self.waits.data = shown


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.2g}")


def _columns(points: Any) -> dict[str, list[Any]]:
    found: list[Point] = list(points)
    return {
        "moment": [local(point.moment) for point in found],
        "workers": [point.workers for point in found],
        "wanted": [point.wanted for point in found],
    }


def _plain(drawn: Any) -> None:
    drawn.xaxis.formatter = _TIME.clone()
    drawn.xgrid.grid_line_color = GRID.light


def _title(words: str) -> Div:
    return Div(text=f"<b>{words}</b>", styles={"font-size": "13px", "color": INK.light})


def _column(field: str, title: str, width: int, **more: Any) -> TableColumn:
    return TableColumn(field=field, title=title, width=width, **more)


def _hours() -> NumberFormatter:
    return NumberFormatter(format="0,0.0")


_GROUP_COLUMNS = (
    ("group", "Group", 110), ("backend", "Backend", 80), ("wanted", "Wanted jobs", 90), ("waiting", "Waiting", 65),
    ("starting", "Starting", 65), ("working", "Working", 65), ("leaving", "Leaving", 65), ("ended", "Ended", 60),
    ("failed", "Failed", 60), ("workers", "Workers", 100), ("core_hours", "Core-hours", 80),
    ("gpu_hours", "GPU-hours", 80), ("says", "What it does, and why", 500),
)  # fmt: skip
_FAILURE_COLUMNS = (
    ("when", "When", 140), ("what", "What", 130), ("group", "Group", 90), ("outcome", "Means", 80),
    ("cause", "Cause", 300), ("hint", "What helps", 420), ("hosts", "Hosts", 120),
)  # fmt: skip
_NUMBERS = {"wanted", "waiting", "starting", "working", "leaving", "ended", "failed"}


def _table(source: ColumnDataSource, columns: tuple[tuple[str, str, int], ...], *, height: int) -> DataTable:
    def formatter(name: str) -> dict[str, Any]:
        if name.endswith("_hours"):
            return {"formatter": _hours()}
        return {"formatter": NumberFormatter(format="0,0")} if name in _NUMBERS else {}

    return DataTable(
        source=source, columns=[_column(name, title, width, **formatter(name)) for name, title, width in columns],
        index_position=None, sizing_mode="stretch_width", height=height, sortable=True, selectable=False,
        reorderable=False,
        stylesheets=[".bk-data-table { z-index: 0; }"],
    )  # fmt: skip
