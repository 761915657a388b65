"""The part of a cluster that is looked at in a notebook."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from distributed.core import Status
from distributed.deploy.cluster import Cluster as DaskCluster

from corral.errors import CorralError

if TYPE_CHECKING:
    from corral.cluster.live_widget import LiveWidget
    from corral.view.overview import Overview


class Displayed(DaskCluster):
    """The part of a cluster that is looked at in a notebook.

    `_ipython_display_` is Dask's: it displays `_widget()` and, where that is not understood, `_repr_html_()`.
    """

    #: None: nobody has looked.
    _live: LiveWidget | None = None

    @abstractmethod
    def overview(self) -> Overview:
        """What there is now, as plain values."""

    def _news(self) -> object:
        """Something that differs whenever what is shown may; nearly for nothing, from any thread."""
        return self.status

    def _closing_says(self) -> str:
        """What `close` would do, as a button says it."""
        return "Close cluster"

    def _repr_html_(self, cluster_status: Any = None) -> str:
        # Not before somebody looks.
        from corral.view.notebook import cluster_html

        return cluster_html(self.overview())

    def widget(self) -> Any:
        """The cluster for a notebook: kept new while it is displayed, with what scales and closes it.

        As the last line of a cell, the cluster shows the same.

        Returns
        -------
        ipywidgets.VBox
            One for each cluster; it may be displayed in several places.

        Raises
        ------
        CorralError
            ipywidgets is not installed.
        """
        found = self._widget()
        if found is None:
            raise CorralError(
                "ipywidgets is not installed: pip install 'corral[notebook]' where the notebook's Python is"
            )
        return found

    def _widget(self) -> Any:
        """The same; None without ipywidgets."""
        try:
            from corral.cluster.live_widget import LiveWidget
        except ImportError:
            return None
        if self._live is None:
            self._live = LiveWidget(self)
        return self._live.box

    def _ipython_display_(self, **kwargs: Any) -> None:
        if self.status is Status.closed and self._live is None:
            # Nothing will change: plain HTML outlives the kernel.
            from IPython.display import display

            display({"text/plain": repr(self), "text/html": self._repr_html_()}, raw=True)
        else:
            super()._ipython_display_(**kwargs)
