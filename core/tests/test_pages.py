"""What corral adds to the scheduler's HTTP server: JSON and metrics of a real cluster, with its door, and its end."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import dask
import pytest
from attrs import asdict
from bokeh.models.widgets.markups import Div
from distributed.core import Status

from corral import Cluster
from corral.cluster.overviewing import Known
from corral.cluster.recorder import Recorder
from corral.cluster.snapshots import OncePer, Snapshots, weakly
from corral.view.overview import Overview
from corral.view.series import COLUMNS
from corral.view.written import FORMAT, overview_json

pytestmark = [
    pytest.mark.timeout(180),
    # Bokeh's client, from Python 3.12 on.
    pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning"),
]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    """A cluster on a queue of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)

    def made(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"}
        return Cluster(backend="local", memory="200MB", interface="lo", backend_options=options, **arguments)

    return made


def fetch(cluster: Cluster, path: str) -> tuple[str, str]:
    """What is there, and what it says it is."""
    with urlopen(cluster.dashboard_link.removesuffix("/status") + path, timeout=30) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer.read().decode(), answer.headers["Content-Type"]


def until(holds: Callable[[], Any]) -> Any:
    for _ in range(600):
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError("it never was so")


def families(cluster: Cluster) -> dict[str, Any]:
    """Every family of metrics by its name; fails if Prometheus would not read them, or one is there twice."""
    from prometheus_client.parser import text_string_to_metric_families

    text, kind = fetch(cluster, "/metrics")
    assert kind.startswith("text/plain; version=0.0.4")
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def value(cluster: Cluster, family: str, name: str, **labels: str) -> float:
    [found] = [
        sample.value
        for sample in families(cluster)[family].samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return float(found)


def test_programs_are_told_what_people_see(make: Callable[..., Cluster]) -> None:
    """JSON of the overview, its jobs and its size; Dask's metrics and corral's in one answer."""
    with make(n_workers=2) as cluster:
        cluster.wait_for_workers(timeout=60)
        assert cluster._pages is not None
        # Nobody has looked: nothing was made for it.
        assert cluster._pages._snapshots.taken == 0
        overview, kind = fetch(cluster, "/corral/overview.json")
        assert kind == "application/json; charset=utf-8"
        said = json.loads(overview)
        assert said["format"] == FORMAT
        assert {**said, "format": 0}.keys() == {**asdict(cluster.overview()), "format": 0}.keys()
        assert said["groups"][0]["totals"]["submitted"] == 2
        assert [job["id"] for job in json.loads(fetch(cluster, "/corral/jobs.json")[0])["jobs"]] == [
            str(job.id) for job in cluster.jobs
        ]
        series = until(
            lambda: (
                (found := json.loads(fetch(cluster, "/corral/series.json")[0]))
                and found["points"][-1][1] == 2
                and found
            )
        )
        assert series["columns"] == list(COLUMNS)
        assert series["points"][0][1] == 0
        assert series["points"][-1][2] == 2
        found = families(cluster)
        assert {
            "dask_scheduler_workers",
            "process_cpu_seconds",
            "corral_workers",
            "corral_cluster_info",
        } <= found.keys()
        assert value(cluster, "corral_workers", "corral_workers") == 2
        assert value(cluster, "corral_jobs", "corral_jobs", phase="working") == 2
        assert value(cluster, "corral_queue_wait_seconds", "corral_queue_wait_seconds_count") == 2
        assert value(cluster, "corral_submitted_jobs", "corral_submitted_jobs_total") == 2
        commands = found["corral_command_duration_seconds"].samples
        assert sum(each.value for each in commands if each.name.endswith("_count")) >= 2
        # And after the jobs have gone, that they were.
        cluster.scale(0)
        until(lambda: all(job.has_ended for job in cluster.jobs))
        until(lambda: value(cluster, "corral_jobs", "corral_jobs", phase="working") == 0)
        assert value(cluster, "corral_ended_jobs", "corral_ended_jobs_total", outcome="wanted") == 2
        assert value(cluster, "corral_submitted_jobs", "corral_submitted_jobs_total") == 2


def test_two_clusters_of_a_process_tell_of_themselves(make: Callable[..., Cluster]) -> None:
    """Dask has one collector for all, which tells of whoever was asked last; and nothing is there twice."""
    with make(name="first", n_workers=1) as first, make(name="second") as second:
        first.wait_for_workers(timeout=60)
        for _ in range(2):
            for cluster, workers in ((first, 1), (second, 0)):
                found = families(cluster)
                [info] = found["corral_cluster_info"].samples
                assert info.labels["name"] == cluster.name
                assert found["corral_workers"].samples[0].value == workers
                assert sum(sample.value for sample in found["dask_scheduler_workers"].samples) == workers
        second.close()
        assert families(first)["corral_workers"].samples[0].value == 1


@pytest.mark.parametrize("missing", ["distributed.dashboard.scheduler", "prometheus_client"])
def test_what_is_not_installed_takes_nothing_else_away(
    make: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Without bokeh there is no page, without prometheus_client a sentence instead of metrics."""
    assert importlib.util.find_spec("bokeh") is not None
    monkeypatch.setitem(sys.modules, missing, None)
    # Without bokeh, Dask appends to the list that is in its configuration.
    routes = list(dask.config.get("distributed.scheduler.http.routes"))
    with dask.config.set({"distributed.scheduler.http.routes": routes}), make() as cluster:
        assert json.loads(fetch(cluster, "/corral/jobs.json")[0])["jobs"] == []
        base = cluster.dashboard_link.removesuffix("/status")
        if missing == "prometheus_client":
            with pytest.raises(HTTPError, match="404") as told:
                urlopen(f"{base}/metrics", timeout=30)
            assert b"pip install 'corral[metrics]'" in told.value.read()
            with urlopen(f"{base}/jobs", timeout=30) as page:
                assert b"Bokeh" in page.read()
        else:
            assert "corral_workers" in families(cluster)
            with pytest.raises(HTTPError, match="404") as told:
                urlopen(f"{base}/jobs", timeout=30)
        told.value.close()


def test_dask_s_metrics_can_be_switched_off(make: Callable[..., Cluster]) -> None:
    """Where the configuration names no module for them, only corral's are told."""
    routes = [each for each in dask.config.get("distributed.scheduler.http.routes") if "prometheus" not in each]
    with dask.config.set({"distributed.scheduler.http.routes": routes}), make() as cluster:
        found = families(cluster)
        assert "corral_workers" in found
        assert not [name for name in found if name.startswith("dask_scheduler")]


@pytest.fixture
def viewer() -> Iterator[Callable[[str], Any]]:
    """Who looks at a page, as a browser does: through a websocket, and told of each change."""
    from bokeh.client import pull_session

    sessions = []

    def look(address: str) -> Any:
        session = pull_session(url=address)
        sessions.append(session)
        return session

    yield look
    for session in sessions:
        session.close()


def test_a_cluster_closes_under_the_eyes_of_whoever_looks(
    make: Callable[..., Cluster], viewer: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and nothing keeps it, its scheduler or the page in memory, or goes on."""
    # Bokeh 3.10 fails when a websocket ends after its application, Dask's own too: what pytest keeps of that record,
    # keeps the page.
    monkeypatch.setattr(logging.getLogger("tornado.application"), "disabled", True)
    with make(name="other") as other:
        # The event loop goes on, because another cluster is on it.
        cluster = make(name="watched")
        session = viewer(cluster.dashboard_link.replace("/status", "/jobs"))
        words, name = session.document.select({"type": Div}), cluster.name
        until(lambda: session.force_roundtrip() or any(name in each.text for each in words))
        families(cluster)
        pages = cluster._pages
        assert pages is not None
        [drawn] = [each.document for each in pages._application.get_sessions("/jobs")]
        assert drawn.session_callbacks
        began = time.monotonic()
        cluster.close()
        assert time.monotonic() - began < 30
        assert drawn.session_callbacks == []
        gone = [weakref.ref(each) for each in (cluster, cluster.scheduler, pages, drawn)]
        del cluster, pages, drawn
        session.close()
        until(lambda: gc.collect() is not None and [each() for each in gone] == [None] * 4)

        async def names() -> list[str]:
            return [task.get_name() for task in asyncio.all_tasks()]

        # The other one's.
        assert other.sync(names).count("corral series") == 1


# --- one overview for all who look ----------------------------------------------------------------------------------


class Taking:
    """Somebody who can be asked for an overview."""

    def __init__(self) -> None:
        self.times = 0

    def take(self, known: Known) -> Overview:
        self.times += 1
        return Overview(name="n", backend="b", moment=float(self.times))


async def test_a_hundred_who_look_at_once_cost_one_overview() -> None:
    """And what is made of it is made once."""
    source = Taking()
    made: list[Overview] = []

    def make(overview: Overview) -> str:
        made.append(overview)
        return overview_json(overview)

    texts = OncePer(Snapshots(weakly(source.take)), make)
    said = await asyncio.gather(*(texts.latest() for _ in range(100)))
    assert len(set(said)) == 1
    assert (source.times, len(made)) == (1, 1)


async def test_whoever_goes_away_takes_nothing_from_the_others() -> None:
    """A browser that is closed while an overview is being made."""
    source = Taking()
    snapshots = Snapshots(weakly(source.take))
    first, second = asyncio.create_task(snapshots.latest()), asyncio.create_task(snapshots.latest())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second) is not None


async def test_a_cluster_that_is_gone_is_not_kept_for_its_pages() -> None:
    """They say that there is none."""
    source = Taking()
    snapshots = Snapshots(weakly(source.take))
    del source
    gc.collect()
    assert await snapshots.latest() is None


def test_json_has_no_word_for_infinity() -> None:
    """What a batch system means by it is told as not known."""
    said = overview_json(Overview(name="\ud800</script>", backend="b", moment=float("nan"), began=float("inf")))
    found = json.loads(said, parse_constant=pytest.fail)
    assert (found["moment"], found["began"]) == (None, None)


def test_pages_that_cannot_be_closed_keep_no_scheduler_open(
    make: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the rest is done."""
    stop = Recorder.stop

    def broken(recorder: Recorder) -> None:
        stop(recorder)
        raise RuntimeError("a page that does not go")

    monkeypatch.setattr(Recorder, "stop", broken)
    cluster = make()
    scheduler = cluster.scheduler
    cluster.close()
    assert scheduler is not None
    assert (cluster.status, scheduler.status) == (Status.closed, Status.closed)
    assert "its pages could not be closed: RuntimeError: a page that does not go" in caplog.text
