"""The live widget of real clusters, here and from handles, without a browser: what one would do is done by hand."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral import Cluster, WorkerGroup
from corral.allocation.cluster import Allocation
from corral.cluster import live_widget
from corral.errors import CorralError

pytestmark = [
    pytest.mark.timeout(120),
    # ipywidgets makes its widgets without a kernel all the same.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ipywidgets.*"),
]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters with a queue of their own."""
    made: list[weakref.ref[Cluster]] = []

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"}
        found = Cluster(backend="local", memory="200MB", interface="lo", backend_options=options, **arguments)
        made.append(weakref.ref(found))
        return found

    yield make
    for each in made:
        if (left := each()) is not None:
            left.close()


def texts(box: Any) -> str:
    """What it says, as a browser gets it."""
    return "\n".join(each.value for each in box.children if hasattr(each, "value"))


def find(box: Any, says: str) -> list[Any]:
    """Its buttons that say so."""
    found = [box] if getattr(box, "description", None) == says else []
    for child in getattr(box, "children", ()):
        found += find(child, says)
    return found


def eventually(holds: Callable[[], Any], words: Callable[[], object] = lambda: "") -> Any:
    deadline = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < deadline, words()
        time.sleep(0.05)
    return found


def is_followed(cluster: str) -> bool:
    """Whether a thread keeps the widget of a cluster of this name new."""
    return any(each.name == f"corral widget {cluster}" for each in threading.enumerate())


@pytest.mark.parametrize("place", ["process", "job"])
def test_it_is_kept_new_while_it_is_displayed(cluster: Callable[..., Cluster], place: str) -> None:
    """And no longer; here and from a handle. It scales by clicks, and ends with its cluster."""
    options = {"memory": "300MB", "cores": 1} if place == "job" else None
    c = cluster(scheduler=place, scheduler_options=options)
    box = c.widget()
    assert c.widget() is box
    assert not is_followed(c.name), "nobody looks"
    # As the browser tells.
    box._view_count = 2
    [scale] = find(box, "Scale")
    c._live._controls._lines["default"].jobs.value = 1  # type: ignore[union-attr]
    scale.click()
    eventually(lambda: "1 working" in texts(box), lambda: texts(box))
    assert "scale default to 1 job" in texts(box)
    box._view_count = 0
    eventually(lambda: not is_followed(c.name))
    drawn = c._live.drawn  # type: ignore[union-attr]
    c.scale(2)
    eventually(lambda: len(c.jobs) == 2)
    assert c._live.drawn == drawn  # type: ignore[union-attr]
    box._view_count = 1
    eventually(lambda: "fixed at 2 jobs" in texts(box), lambda: texts(box))
    [close] = find(box, "Close cluster")
    close.click()
    [yes] = find(box, "Yes")
    yes.click()
    eventually(lambda: "closed: this is what there was" in texts(box), lambda: texts(box))
    assert find(box, "Scale") == []
    eventually(lambda: not is_followed(c.name))


def test_only_one_group_adapts(cluster: Callable[..., Cluster]) -> None:
    """The others stay as they are; and what is refused is said where people look."""
    c = cluster(groups={"a": WorkerGroup(), "b": WorkerGroup(), "c": WorkerGroup()})
    box = c.widget()
    box._view_count = 1
    c.adapt(groups={"a": {"minimum": 0, "maximum": 2}, "b": {"minimum": 0, "maximum": 2}, "c": {"maximum": 1}})
    c.scale(jobs=1, group="b")
    live: Any = c._live
    eventually(lambda: "fixed at 1 job" in texts(box) and "adapts, 0 to 2 jobs" in texts(box), lambda: texts(box))
    line = live._controls._lines["c"]
    line.least.value, line.most.value = 2, 1
    adapt = find(line.box, "Adapt")[0]
    adapt.click()
    eventually(lambda: "minimum_jobs: is 2 jobs" in texts(box), lambda: texts(box))
    line.least.value, line.most.value = 1, 3
    adapt.click()
    sizes = lambda: {group.name: (group.adapts, group.minimum, group.maximum) for group in c.overview().groups}  # noqa: E731
    eventually(lambda: sizes()["c"] == (True, 1, 3), sizes)
    eventually(lambda: not sizes()["b"][0], sizes)
    assert sizes()["a"] == (True, 0, 2)
    assert {group.name: group.wanted for group in c.overview().groups}["b"] == 1


def test_what_is_logged_is_shown_where_it_is_displayed(
    cluster: Callable[..., Cluster], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not written; of other clusters it is, and all of it when nobody looks any more."""
    # pytest's handlers are a user's own.
    monkeypatch.setattr(logging.getLogger("corral"), "propagate", False)
    c = cluster(name="seen")
    box = c.widget()
    box._view_count = 1
    log = logging.getLogger("corral")
    log.warning("cluster seen: one\nsays why")
    log.warning("cluster seen-too: two")
    log.info("cluster seen: three")
    eventually(lambda: "one" in texts(box) and "says why" in texts(box), lambda: texts(box))
    assert not {"two", "three"} & set(texts(box).split())
    assert capsys.readouterr().err == "cluster seen-too: two\n"
    box._view_count = 0
    eventually(lambda: not is_followed(c.name))
    log.warning("cluster seen: four")
    assert capsys.readouterr().err == "cluster seen: four\n"


def test_it_keeps_no_cluster_alive(cluster: Callable[..., Cluster]) -> None:
    """ipywidgets keeps it for as long as the kernel lives."""
    c = cluster(name="short")
    box = c.widget()
    box._view_count = 1
    eventually(lambda: is_followed("short"))
    seen = weakref.ref(c)
    c.close()
    eventually(lambda: not is_followed("short"))
    del c
    gc.collect()
    assert seen() is None
    assert "closed" in texts(box)


def test_a_picture_that_cannot_be_made_is_told(
    cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place; the next one may be well."""
    c = cluster()
    box = c.widget()
    with monkeypatch.context() as patch:
        patch.setattr(c, "overview", lambda: 1 / 0)
        box._view_count = 1
        eventually(lambda: "ZeroDivisionError" in texts(box), lambda: texts(box))
    c.scale(1)
    eventually(lambda: "fixed at 1 job" in texts(box), lambda: texts(box))


def test_what_is_costly_is_drawn_less_often(cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever there is to tell: it never takes more than its share of a processor."""
    c = cluster(name="costly")
    real = c.overview

    def slow() -> Any:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        return real()

    box = c.widget()
    monkeypatch.setattr(c, "overview", slow)
    monkeypatch.setattr(live_widget, "REDRAW", 0.0)
    monkeypatch.setattr(live_widget, "SHARE", 0.02)
    live: Any = c._live
    box._view_count = 1
    first = live.drawn + 1
    eventually(lambda: live.drawn >= first)
    began = time.monotonic()
    while live.drawn < first + 2:
        live.tell("another message")
        time.sleep(0.02)
    assert time.monotonic() - began > 0.9 * 2 * 0.05 / 0.02
    assert "another message" in texts(box)


def test_without_ipywidgets_it_is_plain_html(cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is of a closed cluster that nobody has looked at."""
    shown: list[Any] = []
    import IPython.display

    monkeypatch.setattr(IPython.display, "display", lambda bundle, **_: shown.append(bundle))
    c = cluster()
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "corral.cluster.live_widget", raising=False)
        patch.setitem(sys.modules, "ipywidgets", None)
        c._ipython_display_()
        with pytest.raises(CorralError, match=r"corral\[notebook\]"):
            c.widget()
    c.close()
    c._ipython_display_()
    for bundle in shown:
        assert set(bundle) == {"text/plain", "text/html"}
        assert bundle["text/html"].startswith("<style>")
    c._live = live_widget.LiveWidget(c)
    c._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[-1]


def test_an_allocation_has_one_without_controls() -> None:
    """What it was granted is what it has."""
    with Allocation(backend="local", interface="lo", processes=1, threads=1, name="mine") as allocation:
        box = allocation.widget()
        assert find(box, "Scale") == []
        box._view_count = 1
        eventually(lambda: "1 working" in texts(box), lambda: texts(box))
        [close] = find(box, "Close cluster")
        assert close is not None
    eventually(lambda: "closed: this is what there was" in texts(box), lambda: texts(box))
