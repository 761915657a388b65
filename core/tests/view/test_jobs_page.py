"""The document of the page of jobs: what a viewer has been told, piece by piece, is what there is."""

from __future__ import annotations

import random
from typing import Any

from attrs import evolve
from bokeh.document import Document
from bokeh.models import ColumnDataSource

from corral.view import jobs_page
from corral.view.drawing import BAR, Drawer, local
from corral.view.jobs_page import NAMED, JobsPage
from corral.view.overview import FailureView, GroupView, JobView, Overview
from corral.view.series import Point, Series


def job(number: int, **more: Any) -> JobView:
    arguments = {"group": "default", "phase": "waiting", "state": "pending", "condition": "pending"}
    return JobView(id=f"7_{number}", submitted=1000.0 + number, **{**arguments, **more})


def overview(*jobs: JobView, moment: float = 5000.0, **more: Any) -> Overview:
    return Overview(
        name="n", backend="b", began=900.0, moment=moment, jobs=jobs, groups=(GroupView(name="default"),), **more
    )


def told(page: JobsPage) -> dict[str, tuple[Any, ...]]:
    """Each job's bar, as the browser has it; `nan` as text, because it differs from itself."""
    data = page.bars.data
    assert list(data["row"]) == list(range(len(data["row"])))
    rows = zip(*(data[name] for name in BAR), strict=True)
    return {str(each[0]): tuple(map(repr, each)) for each in rows}


def meant(bars: Any) -> dict[str, tuple[Any, ...]]:
    return {job_id: tuple(map(repr, each)) for job_id, each in bars.items()}


def test_whatever_changes_the_page_says_the_same_as_a_new_one() -> None:
    """Jobs come, change, end and are forgotten, by the hundred: what is told piece by piece adds up."""
    seed, drawer, page, series = random.Random(3), Drawer(), JobsPage(), Series()
    jobs: dict[int, JobView] = {}
    number = 0
    for step in range(60):
        for _ in range(seed.randrange(40)):
            jobs[number] = job(number)
            number += 1
        for each in seed.sample(sorted(jobs), len(jobs) // 4):
            at = 3000.0 + step
            news: list[dict[str, Any]] = [
                {"started": at, "phase": "starting"},
                {"connected": at, "phase": "working"},
                {"reason": f"r{step}"},
                {"ended": at, "phase": "ended", "outcome": "died"},
                {"leaving": at, "phase": "draining"},
                {"started": None, "connected": None, "phase": "waiting"},
            ]
            jobs[each] = evolve(jobs[each], **seed.choice(news))
        for each in seed.sample(sorted(jobs), len(jobs) // 6):
            del jobs[each]
        series.add(Point(3000.0 + step, workers=step // 3))
        drawn = drawer.draw(overview(*jobs.values(), moment=3000.0 + step))
        page.update(drawn, series)
        assert told(page).items() >= meant(drawn.bars).items()
        assert len(told(page)) <= len(jobs) + jobs_page.SPARE
        size = page.size.data
        assert size["moment"][-1] == drawn.now
        seen = dict(zip(size["moment"], size["workers"]))
        assert seen.items() >= {local(point.moment): point.workers for point in series}.items()
        assert size["workers"][-1] == step // 3
    assert number > len(jobs) + jobs_page.SPARE


def test_only_what_has_changed_is_told() -> None:
    """Of a thousand jobs, one: a few numbers go to the browser, not a thousand rows."""
    drawer, page, document = Drawer(), JobsPage(), Document()
    document.add_root(page.root)
    jobs = [job(number, phase="working", started=1500.0, connected=1600.0) for number in range(1000)]
    page.update(drawer.draw(overview(*jobs)), Series())
    events: list[Any] = []
    document.on_change(events.append)
    jobs[500] = evolve(jobs[500], phase="draining", leaving=4000.0)
    page.update(drawer.draw(overview(*jobs, moment=5001.0)), Series())
    patches = [event for event in events if type(event).__name__ == "ColumnsPatchedEvent"]
    assert len(patches) == 1
    assert {index for changes in patches[0].patches.values() for index, _ in changes} == {500}
    assert set(patches[0].patches) == {"stands", "leaving"}
    whole = ("ColumnsStreamedEvent", "ColumnDataChangedEvent", "ModelChangedEvent")
    assert not [
        event for event in events if type(event).__name__ in whole and getattr(event, "attr", "") in ("", "data")
    ]
    events.clear()
    page.update(drawer.draw(overview(*jobs, moment=5002.0)), Series())
    assert {getattr(event, "attr", "") for event in events} <= {"start", "end", "reset_start", "reset_end", "left"}


def test_whoever_looks_at_a_part_is_left_there() -> None:
    """Both ends follow what happens, until somebody moves them; after a reset they follow again."""
    drawer, page = Drawer(), JobsPage()
    page.update(drawer.draw(overview(job(1))), Series())
    first = page.times.end
    page.update(drawer.draw(overview(job(1), moment=5010.0)), Series())
    assert page.times.end > first
    page.times.update(start=local(2000.0), end=local(3000.0))
    page.update(drawer.draw(overview(job(1), moment=5020.0)), Series())
    assert (page.times.start, page.times.end) == (local(2000.0), local(3000.0))
    page.times.update(start=page.times.reset_start, end=page.times.reset_end)
    page.update(drawer.draw(overview(job(1), moment=5030.0)), Series())
    assert page.times.end > local(5030.0)


def test_few_jobs_are_named_beside_their_bars() -> None:
    """Of many, the pointer tells."""
    page = JobsPage()
    drawer = Drawer()
    page.update(drawer.draw(overview(job(1), job(2))), Series())
    axis = page._gantt.yaxis[0]
    assert (axis.visible, axis.major_label_overrides) == (True, {0: "7_1", 1: "7_2"})
    page.update(drawer.draw(overview(*map(job, range(NAMED + 5)))), Series())
    assert not axis.visible


def test_failures_and_waits_are_told_once() -> None:
    """What is the same is not sent again, also where it holds what is no number."""
    drawer, page, document = Drawer(), JobsPage(), Document()
    document.add_root(page.root)
    failure = FailureView(job="7_1", group="default", cause="c", moment=1.0)
    shown = overview(job(1, started=1100.0), failures=(failure,))
    page.update(drawer.draw(shown), Series())
    assert page.failures.data["cause"] == ["c"]
    assert page.waits.data["middle"] == [99.0]
    events: list[Any] = []
    document.on_change(events.append)
    page.update(drawer.draw(evolve(shown, moment=5001.0)), Series())
    assert not [event for event in events if getattr(event, "attr", "") == "data"]


async def test_the_document_follows_until_the_cluster_is_gone() -> None:
    """It begins at once, and goes on; a cluster that is gone leaves it as it was."""
    document, answers = Document(), [None, Drawer().draw(overview(job(1)))]

    async def latest() -> Any:
        return answers.pop() if answers else None

    jobs_page.begin(document, latest, Series, {"pages": ["jobs"]}, 1000)
    assert document.title == "Dask: Jobs"
    kinds = sorted(type(callback).__name__ for callback in document.session_callbacks)
    assert kinds == ["NextTickCallback", "PeriodicCallback"]
    sources: dict[str, Any] = {each.name: each for each in document.select({"type": ColumnDataSource}) if each.name}
    for callback in document.session_callbacks:
        tick: Any = callback.callback
        await tick()
    assert sources["bars"].data["id"] == ["7_1"]
