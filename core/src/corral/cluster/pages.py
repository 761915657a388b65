"""What corral adds to a scheduler's own HTTP server: a page of jobs in Dask's dashboard, JSON, and metrics.

All of it stands behind the door of that server (`corral.security.door`), which knows nothing of pages. What is shown is
made of an overview (`corral.cluster.snapshots`), while somebody looks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import dask
from attrs import define, field
from tornado.web import RequestHandler

from corral.cluster.changes import Changes
from corral.cluster.overviewing import Known
from corral.cluster.recorder import Recorder
from corral.cluster.scheduler import Scheduler
from corral.cluster.snapshots import OncePer, Snapshots, weakly
from corral.text.logs import logger_of
from corral.view import written
from corral.view.overview import Overview

if TYPE_CHECKING:
    from corral.cluster.engine import Engine

logger = logger_of()

#: How often a page that somebody looks at changes (ms).
INTERVAL = 1000
#: What answers where prometheus_client is missing.
NO_METRICS = (
    "# There are no metrics: prometheus-client is not installed where this scheduler runs.\n"
    "# python -m pip install 'corral[metrics]'\n"
)
#: The format of metrics.
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
#: Dask's own module of metrics: no metrics are wanted by whoever has taken it out of the configuration.
DASKS_METRICS = "distributed.http.scheduler.prometheus"


@define(eq=False)
class Pages:
    """One cluster's. On the scheduler's event loop."""

    _scheduler: Scheduler
    _snapshots: Snapshots
    _recorder: Recorder
    #: The cluster's name.
    _cluster: str
    #: Bokeh's, with the page of jobs; None: Dask's dashboard is not there.
    _application: Any = field(default=None, init=False)

    @classmethod
    def of(cls, engine: Engine, changes: Changes, overview: Callable[[Known], Overview]) -> Self:
        """Those of an engine's scheduler; `overview` is a method, whose object they do not keep alive."""
        return cls(engine.scheduler, Snapshots(weakly(overview)), Recorder(engine, changes), engine.blueprint.name)

    def open(self) -> None:
        """Be there for whoever asks, and keep how the cluster's size goes."""
        self._recorder.start()
        server: Any = self._scheduler
        # Before all that the scheduler has, its own metrics too: they are part of ours.
        server.http_application.add_handlers(".*$", self._routes())
        if has_dashboard(self._scheduler):
            try:
                self._application = self._join_dashboard()
            except Exception:
                logger.exception("the dashboard has no page of jobs", cluster=self._cluster)

    def _routes(self) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
        made: dict[str, Callable[[Overview], str]] = {
            "overview": written.overview_json,
            "jobs": written.jobs_json,
            "series": lambda overview: written.series_json(overview, self._recorder.series),
        }
        routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
            (rf"/corral/{name}\.json", _Json, {"text": OncePer(self._snapshots, make)}) for name, make in made.items()
        ]
        routes.append(("/metrics", _Metrics, {"scheduler": self._scheduler, "snapshots": self._snapshots}))
        return routes

    # --- the page of jobs -----------------------------------------------------------------------------------------

    def _join_dashboard(self) -> Any:
        from distributed.dashboard.core import BokehApplication
        from distributed.dashboard.scheduler import template_variables
        from tornado.ioloop import IOLoop

        from corral.view.drawing import Drawer

        variables = template_variables(self._scheduler)
        pages = variables["pages"]
        if "jobs" not in pages:
            pages.insert(pages.index("workers") + 1 if "workers" in pages else 0, "jobs")
        drawings = OncePer(self._snapshots, Drawer().draw)
        recorder = self._recorder

        def jobs_page(_: Any, extra: dict[str, Any], document: Any) -> None:
            # Not before somebody looks.
            from corral.view.jobs_page import begin

            begin(document, drawings.latest, lambda: recorder.series, extra, INTERVAL)

        application = BokehApplication({"/jobs": jobs_page}, self._scheduler, template_variables=variables)
        server: Any = self._scheduler
        server.http_application.add_application(application)
        application.initialize(IOLoop.current())
        application.start()
        return application

    def close(self) -> None:
        """Let nothing of it go on; the scheduler's server closes the connections."""
        self._recorder.stop()
        application, self._application = self._application, None
        if application is None:
            return
        server: Any = self._scheduler
        # Or the scheduler would stop it again.
        if application in server.http_application.applications:
            server.http_application.applications.remove(application)
        try:
            for session in application.get_sessions("/jobs"):
                for callback in list(session.document.session_callbacks):
                    session.document.callbacks.remove_session_callback(callback)
            # From bokeh 3.10 on it may not wait on its own event loop.
            application.stop(wait=False)
        except Exception:
            logger.debug("the page of jobs was not closed cleanly", exc_info=True, cluster=self._cluster)


def has_dashboard(scheduler: Scheduler) -> bool:
    """Whether Dask's dashboard is there: bokeh is installed, and the user has not switched it off."""
    core: Any = sys.modules.get("distributed.dashboard.core")
    server: Any = scheduler
    return core is not None and any(
        isinstance(each, core.BokehTornado) for each in server.http_application.applications
    )


class _Handler(RequestHandler):
    """What is told to programs: never kept by a browser, never taken for something else."""

    def _begin(self, content: str) -> None:
        self.set_header("Content-Type", content)
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")


class _Json(_Handler):
    def initialize(self, text: OncePer[str]) -> None:
        self._text = text

    async def get(self) -> None:
        text = await self._text.latest()
        self._begin("application/json; charset=utf-8")
        if text is None:
            self.set_status(503)
        self.finish(text or '{"error": "the cluster has closed"}')


class _Metrics(_Handler):
    """Dask's metrics of this scheduler, what this process tells of itself, and corral's."""

    def initialize(self, scheduler: Scheduler, snapshots: Snapshots) -> None:
        self._scheduler = scheduler
        self._snapshots = snapshots

    async def get(self) -> None:
        self._begin(PLAIN)
        try:
            import prometheus_client
        except ImportError:
            self.set_status(404)
            self.finish(NO_METRICS)
            return
        overview = await self._snapshots.latest()
        if overview is None:
            self.set_status(503)
            self.finish("# The cluster has closed.\n")
            return
        from corral.view.metrics import OverviewCollector

        others = _dask_s_and_this_process_s(self._scheduler)
        ours = await asyncio.to_thread(lambda: prometheus_client.generate_latest(OverviewCollector(overview)))
        self.finish(prometheus_client.generate_latest(_Collected(others)) + ours)


@define
class _Collected:
    """What was collected, in the form in which prometheus_client takes it."""

    _families: list[Any]

    def collect(self) -> list[Any]:
        return self._families


def _dask_s_and_this_process_s(scheduler: Scheduler) -> list[Any]:
    """Dask's families for this one scheduler, and what this process registered.

    Dask keeps one collector for all schedulers of a process, which tells of the one that was asked last, and keeps it
    alive. So each of ours is asked by collectors of its own, and what the process's registry says of Dask is left out.
    """
    from prometheus_client import REGISTRY

    found: list[Any] = []
    if DASKS_METRICS in dask.config.get("distributed.scheduler.http.routes"):
        from distributed.http.scheduler.prometheus.core import COLLECTORS

        collectors: Any = COLLECTORS
        for collector in collectors:
            found += collector(scheduler).collect()
    known = {family.name for family in found}
    return found + [family for family in REGISTRY.collect() if family.name not in known]
