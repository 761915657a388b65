"""A cluster in a notebook, live: HTML that is kept new while somebody looks, and what scales and closes the cluster.

It is made of ipywidgets alone, so it works wherever those do. All of it happens beside the Dask scheduler's event loop:
the HTML is made in a thread of its own, only when there is news, and never more often than what it costs allows.

Nothing here keeps a cluster alive: ipywidgets keeps each widget for as long as the kernel lives, so a widget knows its
cluster by a weak reference. And whatever goes wrong is shown in the widget. ipywidgets would write it below the cell in
which the widget was displayed first.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from distributed.core import Status

from corral.cluster.scale_controls import ScaleControls
from corral.cluster.told_where_shown import listen, listen_no_more
from corral.errors import CorralError
from corral.view import notebook
from corral.view.markup import page, sheet

if TYPE_CHECKING:
    from corral.cluster.displayed import Displayed

#: Seconds between two looks at whether there is news.
GLANCE = 1.0
#: After so many seconds it is drawn again although nothing has happened: waits grow, and hours.
REDRAW = 5.0
#: Drawing takes at most this part of a processor, clicks aside: what takes long is done less often.
SHARE = 0.005
#: Between two turns of its thread, at least (s).
BREATH = 0.1
#: So many messages are kept.
_MESSAGES = 4


class _Box(ipywidgets.VBox):  # type: ignore[misc]
    """What is displayed; says when."""

    def __init__(self, children: Sequence[Any], on_display: Callable[[], None]) -> None:
        super().__init__(children)
        self._on_display = on_display

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self._on_display()
        return super()._repr_mimebundle_(**kwargs)


class LiveWidget:
    """One for each cluster, however often it is displayed: all of its displays show the same."""

    def __init__(self, cluster: Displayed) -> None:
        self.name = str(cluster.name)
        self._cluster = weakref.ref(cluster)
        self._standing = ipywidgets.HTML()
        self._failures = ipywidgets.HTML()
        self._messages = ipywidgets.HTML()
        self._controls = ScaleControls(
            self._act,
            scales=cluster._supports_scaling,  # noqa: SLF001 - one room
            says=cluster._closing_says(),  # noqa: SLF001
        )
        # The style sheet once, and not with each piece of news.
        children = [ipywidgets.HTML(sheet()), self._standing, self._controls.box, self._messages, self._failures]
        self.box = _Box(children, self._displayed)
        # From now on, the browser counts where it is displayed.
        self.box._view_count = 0  # noqa: SLF001 - the name that ipywidgets gives
        self.box.observe(self._counted, "_view_count")
        self._was_displayed = self._was_counted = False
        self._told: deque[notebook.Message] = deque(maxlen=_MESSAGES)
        self._wake = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = self._asked = False
        #: How often it was drawn, and the seconds of a processor that this took.
        self.drawn = 0
        self.seconds = 0.0
        self._draw(cluster)

    # --- while somebody looks -----------------------------------------------------------------------------------

    def _displayed(self) -> None:
        self._was_displayed = True
        self._follow()

    def _counted(self, _change: Any) -> None:
        self._was_counted = True
        self._follow()

    @property
    def is_seen(self) -> bool:
        """True while it is displayed somewhere, as far as the browser tells."""
        # A front end that does not count, and one that is just about to.
        return bool(self.box._view_count) or (self._was_displayed and not self._was_counted)  # noqa: SLF001

    def _follow(self) -> None:
        """See to it that it is kept new, if somebody looks."""
        with self._guard:
            if self._ended or self._thread is not None or not self.is_seen:
                self._wake.set()
                return
            self._thread = threading.Thread(target=self._keep_new, name=f"corral widget {self.name}", daemon=True)
            listen(self)
            self._thread.start()

    def _keep_new(self) -> None:
        seen: object = None
        drawn_at, due = -REDRAW, 0.0
        while True:
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            with self._guard:
                if not self.is_seen or self._ended:
                    self._thread = None
                    listen_no_more(self)
                    return
            cluster = self._cluster()
            if cluster is None:
                self._end("Nothing refers to this cluster any more: it has been closed.")
                continue
            self._show_messages()
            # What was clicked is seen at once; whatever else comes, when it is due.
            is_asked, self._asked = self._asked, False
            if is_asked or time.monotonic() >= due:
                news, cost = cluster._news(), 0.0  # noqa: SLF001 - one room
                if is_asked or news != seen or time.monotonic() - drawn_at >= REDRAW:
                    seen, drawn_at = news, time.monotonic()
                    cost = self._draw(cluster)
                due = time.monotonic() + max(GLANCE, cost / SHARE)
            # Neither the widget nor its thread keeps it.
            del cluster
            # Messages may come in hundreds.
            time.sleep(BREATH)

    def _draw(self, cluster: Displayed) -> float:
        """Show what there is; the seconds of a processor that it took."""
        began = time.thread_time()
        try:
            overview = cluster.overview()
            face = notebook.face_of(overview)
            closed = notebook.is_closed(overview)
            self._show(self._standing, face.standing, closed)
            self._show(self._failures, face.failures, closed)
            if not closed:
                self._controls.follow(overview)
        except Exception as error:
            # What is wrong with a picture is shown in its place, and the next may be well.
            self.tell(f"what there is could not be shown: {error!r}", is_error=True)
        self._show_messages()
        if cluster.status is Status.closed:
            self._end()
        cost = time.thread_time() - began
        self.drawn, self.seconds = self.drawn + 1, self.seconds + cost
        return cost

    def _show_messages(self) -> None:
        self._show(self._messages, notebook.messages_html(list(self._told)), closed=False)

    def _show(self, part: ipywidgets.HTML, content: str, closed: bool) -> None:
        # Only what is different is sent.
        part.value = page(content, is_closed=closed, has_sheet=False) if content else ""

    def _end(self, words: str = "") -> None:
        """Nothing will change any more."""
        self._ended = True
        self._controls.end()
        if words:
            self.tell(words)
            self._show_messages()

    # --- what is told, and asked --------------------------------------------------------------------------------

    def tell(self, words: str, *, is_error: bool = False) -> None:
        """Show this, too; from any thread."""
        self._told.append(notebook.Message(moment=time.time(), words=words, is_error=is_error))
        self._wake.set()

    def _act(self, what: str, action: Callable[[Any], Any]) -> None:
        """Do what was clicked, where it keeps nobody waiting; what goes wrong is shown."""
        cluster = self._cluster()
        if cluster is None:
            self.tell(f"{what}: there is no cluster any more", is_error=True)
            return
        act = functools.partial(self._do, what, action, cluster)
        if cluster._is_asynchronous:  # type: ignore[attr-defined]  # noqa: SLF001 - one room
            # On its own event loop nothing waits.
            cluster.loop.asyncio_loop.call_soon_threadsafe(act)  # type: ignore[union-attr]
        else:
            # The kernel's thread is for cells, and to close takes a while.
            threading.Thread(target=act, name=f"corral widget {what}", daemon=True).start()

    def _do(self, what: str, action: Callable[[Any], Any], cluster: Displayed) -> None:
        try:
            action(cluster)
            self._asked = True
            self.tell(what)
        except CorralError as error:
            self.tell(f"{what}: {error}", is_error=True)
        except Exception as error:
            self.tell(f"{what}: {error!r}", is_error=True)
